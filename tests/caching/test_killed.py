"""A run that is killed at any moment leaves each graph absent or complete, and the next run succeeds."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxq.testing import normal, parse

MOMENTS = 20
KILLED = """
import os, sys
from pathlib import Path
from onnxq.files import write_files
calls = int(sys.argv[2])
def counted(name):
    whole = getattr(Path, name)
    def call(*given, **named):
        global calls
        calls -= 1
        if calls == 0:
            os.kill(os.getpid(), 9)
        return whole(*given, **named)
    setattr(Path, name, call)
for name in ("replace", "unlink", "chmod", "open", "mkdir"):
    counted(name)
folder = Path(sys.argv[1])
write_files({folder / "m.data": b"new", folder / "m.json": b"new", folder / "m.onnx": b"new"})
print("done")
"""


def test_files_that_belong_together_are_never_mixed(tmp_path: Path) -> None:
    """Killed before each of the calls that change the folder."""
    files = [tmp_path / name for name in ("m.data", "m.json", "m.onnx")]
    seen = set()
    for calls in range(1, 40):
        for path in files:
            path.write_text("old")
        run = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(calls)], capture_output=True, text=True)
        held = tuple(path.read_text() if path.exists() else None for path in files)
        assert held in (("old",) * 3, ("new",) * 3) or held[-1] is None, calls
        seen.add(held)
        if run.returncode == 0:
            break
        assert run.returncode == -signal.SIGKILL
    assert run.stdout == "done\n"
    assert len(seen) >= 4  # also between the three


@pytest.mark.slow
@pytest.mark.parametrize("cached", [True, False])
def test_at_random_moments(tmp_path: Path, cached: bool) -> None:
    text = """g (float[N,3,16,16] x) => (float[N,4] y)
    { c = Conv<pads = [1,1,1,1]>(x, w, b) r = Relu(c) p = GlobalAveragePool(r) y = Flatten(p) }"""
    onnx.save(parse(text, w=normal(4, 3, 3, 3), b=normal(4, seed=1)), tmp_path / "m.onnx")
    np.savez(tmp_path / "data.npz", x=normal(16, 3, 16, 16, seed=2))
    words = [sys.executable, "-m", "onnxq", "quantize", "m.onnx", "--data", "data.npz", "--json", "out/facts.json"]
    words += ["--backend", "onnxruntime", "--backend", "qnn", "--no-build", "--out", "out/", "--depfile", "out/d", "-q"]
    words += ["--cache", "cache"] if cached else []
    start = time.monotonic()
    subprocess.run(words, cwd=tmp_path, check=True)
    seconds = time.monotonic() - start
    wanted = contents(tmp_path / "out")
    graphs = [name for name in wanted if name.endswith(".onnx") and ".simulated" not in name]
    assert len(graphs) == 2
    chance, left = random.Random(8), 0
    for _ in range(MOMENTS):
        empty(tmp_path)
        process = subprocess.Popen(words, cwd=tmp_path, start_new_session=True)
        time.sleep(chance.uniform(0, seconds))
        killed = process.poll() is None
        os.killpg(process.pid, signal.SIGKILL) if killed else None
        process.wait()
        found = contents(tmp_path / "out")
        left += bool(found)
        for name in graphs:
            if name in found:
                stem = name.removesuffix(".onnx")
                belonging = {file for file in wanted if file.startswith(stem)}
                assert {file: found.get(file) for file in belonging} == {file: wanted[file] for file in belonging}
        subprocess.run(words, cwd=tmp_path, check=True)
        assert contents(tmp_path / "out") == wanted
    print(f"killed at {MOMENTS} moments of {seconds:.1f} s; {left} times a file was there")


def contents(folder: Path) -> dict[str, object]:
    """Of all files but those that were being written; of facts what is no time."""
    found: dict[str, object] = {}
    for path in folder.glob("*"):
        if path.name.endswith(".json") and path.name == "facts.json":
            found[path.name] = sorted(json.loads(path.read_text())["backends"])
        elif not path.name.startswith("."):
            found[path.name] = path.read_bytes()
    return found


def empty(folder: Path) -> None:
    """As before the first run."""
    for name in ("out", "cache"):
        for path in sorted((folder / name).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
