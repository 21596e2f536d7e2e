"""The examples of docs/build-systems.md, by the real tools: the first build quantizes, the second does nothing, a
changed model or data file rebuilds, and a gate that is missed fails the build with the reason."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxq.models.card import SHIPPED
from onnxq.validation import parse_yaml

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs/build-systems.md").read_text()
GATE, OUT_OF_REACH = "--max-drop 1", "--max-drop -1"
pytestmark = pytest.mark.slow


def example(language: str) -> str:
    (found,) = [part.partition("\n```")[0] for part in DOCUMENT.split(f"```{language}\n")[1:]]
    return f"{found}\n"


@dataclass(frozen=True)
class Build:
    """A folder with the project of the example, ``file`` of its build system, and the command that builds ``out``."""

    folder: Path
    file: Path
    out: Path
    command: tuple[str, ...]

    def run(self) -> "subprocess.CompletedProcess[str]":
        return process(self.folder, *self.command)

    def made(self) -> bool:
        """Whether it was made by this run, which went well."""
        before = self.out.stat().st_mtime_ns if self.out.exists() else None
        done = self.run()
        assert done.returncode == 0, done.stdout + done.stderr
        onnx.checker.check_model(onnx.load(self.out))
        return self.out.stat().st_mtime_ns != before

    def change_model(self, text: str) -> None:
        path = self.folder / "digits/model.onnx"
        model = onnx.load(path)
        model.doc_string = text
        onnx.save(model, path)

    def gate(self, before: str, after: str) -> None:
        text = self.file.read_text()
        assert text.count(before) == 1
        self.file.write_text(text.replace(before, after))


def process(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join([str(folder / "bin"), os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PATH": path})


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The card of the examples, with few samples, and the command ``onnxq`` of this very tree."""
    shutil.copytree(SHIPPED / "digits_mobilenet", tmp_path / "digits")
    for name in ("calibration", "test"):
        with np.load(tmp_path / f"digits/{name}.npz") as held:
            few = {key: held[key][:64] for key in held.files}
        np.savez(tmp_path / f"digits/{name}.npz", **few)
    shim = tmp_path / "bin/onnxq"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m onnxq "$@"\n')
    shim.chmod(0o755)
    return tmp_path


@pytest.fixture(params=["make", "ninja", "cmake with make", "cmake with ninja"])
def build(request: pytest.FixtureRequest, project: Path) -> Build:
    tool = str(request.param)
    if not tool.startswith("cmake"):
        file, language = ("Makefile", "makefile") if tool == "make" else ("build.ninja", "ninja")
        (project / file).write_text(example(language))
        return Build(project, project / file, project / "digits.int8.onnx", (tool,))
    (project / "CMakeLists.txt").write_text(example("cmake"))
    found = process(project, "onnxq", "cmake-dir").stdout.strip()
    generator = "Unix Makefiles" if tool.endswith("make") else "Ninja"
    words = ("-G", generator, "-B", "build", f"-Donnxq_DIR={found}", f"-DONNXQ_CACHE={project / 'cache'}")
    configured = process(project, "cmake", *words)
    assert configured.returncode == 0, configured.stderr
    return Build(project, project / "CMakeLists.txt", project / "build/digits.int8.onnx", ("cmake", "--build", "build"))


def test_example(build: Build) -> None:
    assert build.made()
    assert not build.made()
    first = build.out.read_bytes()

    build.change_model("another")
    assert build.made()
    assert build.out.read_bytes() != first
    assert not build.made()

    with np.load(build.folder / "digits/calibration.npz") as held:
        other = {key: held[key][::-1][:32] for key in held.files}
    np.savez(build.folder / "digits/calibration.npz", **other)
    assert build.made()
    assert not build.made()

    build.gate(GATE, OUT_OF_REACH)
    build.change_model("a third")
    for _ in range(2):
        failed = build.run()
        assert failed.returncode != 0
        assert "lost of at most -1 (--max-drop)" in failed.stdout + failed.stderr
        assert not build.out.exists()
    build.gate(OUT_OF_REACH, GATE)
    assert build.made()
    assert not build.made()


def test_actions(project: Path) -> None:
    job = parse_yaml(example("yaml"), "the workflow")["jobs"]["quantize"]  # type: ignore[index]
    assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    (command,) = [step["run"] for step in job["steps"] if "run" in step and not step["run"].startswith("pip install")]
    (kept,) = [step["with"]["path"] for step in job["steps"] if step.get("uses", "").startswith("actions/cache@")]

    def run(command: str) -> "subprocess.CompletedProcess[str]":
        return process(project, "bash", "-e", "-o", "pipefail", "-c", command)

    for said in ("calibrated on", "Taken from the cache: digits.int8.onnx"):
        shutil.rmtree(project / "digits.int8.onnx", ignore_errors=True)
        done = run(command)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
    assert (project / kept).is_dir()
    failed = run(command.replace(GATE, OUT_OF_REACH))
    assert failed.returncode == 1
    assert "lost of at most -1 (--max-drop)" in failed.stderr
    assert sorted(path.name for path in project.glob("digits.*")) == ["digits.html"]
