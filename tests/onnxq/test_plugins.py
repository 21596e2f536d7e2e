"""Installed packages offer backends, passes, calibrators and solvers, and cannot quietly change what onnxq means."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest

import onnxq
from onnxq import Options, plugins, quantize
from onnxq.backends import backend_names, backend_of
from onnxq.calibrators import calibrator_names
from onnxq.errors import RecipeError
from onnxq.recipe import load_recipe
from onnxq.samples import Data
from onnxq.solving import solver_names, solver_of
from onnxq.testing import normal, parse

ROOT = Path(__file__).resolve().parents[2]
Offer = Callable[..., None]

MODULE = """
from dataclasses import dataclass, replace
from typing import ClassVar
from onnxq.backends.targets.qnn import BACKEND as QNN
from onnxq.scheme import Range
from onnxq.solving import Solution

BACKEND = replace(QNN, name="mine", title="Mine")
UNNAMED = replace(QNN, name="other")
NOT_ONE = "a string"

@dataclass(frozen=True)
class Half:
    histogram: ClassVar[bool] = False
    def range(self, statistics, schemes, through=None):
        return Range.of(statistics.low / 2, statistics.high / 2)

@dataclass(frozen=True)
class Zeros:
    def __call__(self, problem):
        return Solution(0 * problem.weight, problem.grid)

@dataclass(frozen=True)
class Note:
    text: str = "hello"
    name: ClassVar[str] = "note"
    def __call__(self, workspace):
        workspace.ledger.add("warning", self.name, "graph", self.text)
        return False
"""


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Offer]:
    """Lay out an installed package, as pip leaves it: a module and the metadata of its entry points."""

    def install(package: str, text: str = MODULE, **groups: str) -> None:
        folder = tmp_path / package
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{package}_module.py").write_text(text)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"[onnxq.{group}]\n{entry}\n" for group, entry in groups.items()]
        (info / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(folder)

    yield install
    for name in [name for name in sys.modules if name.endswith("_module")]:
        del sys.modules[name]


def model_and_samples() -> tuple[onnx.ModelProto, Data]:
    text = "g (float[N,4] x) => (float[N,4] y) { [one] a = MatMul(x, w) [act] r = Relu(a) [two] y = MatMul(r, w) }"
    return parse(text, w=normal(4, 4)), {"x": normal(8, 4)}


def test_every_kind_resolves_by_name(offer: Offer) -> None:
    offer(
        "kit",
        backends="mine = kit_module:BACKEND",
        passes="note = kit_module:Note",
        calibrators="half = kit_module:Half",
        solvers="zeros = kit_module:Zeros",
    )
    assert "zeros" in solver_names() and solver_of("zeros").__name__ == "Zeros"
    assert "mine" in backend_names() and "half" in calibrator_names()
    assert backend_of("mine").title == "Mine"
    passes = ["plan", {"note": {"text": "seen"}}, {"calibrate": {"activations": "half"}}, "round_weights", "insert_qdq"]
    model, samples = model_and_samples()
    result = quantize(model, samples, backend="mine", recipe={"passes": passes}, options=Options(build=False))
    assert [entry.reason for entry in result["mine"].ledger.of("warning")] == ["seen"]
    passes[1:3] = [{"calibrate": {"activations": "minmax"}}]
    whole = quantize(model, samples, backend="mine", recipe={"passes": passes}, options=Options(build=False))
    assert result["mine"].activations["x"].scale == pytest.approx(whole["mine"].activations["x"].scale / 2)
    assert load_recipe({"passes": result.recipe}).written() == result.recipe
    chosen = {"calibrate": {"activations": "half", "percentile": None, "ranges": None}}
    assert chosen in Options(calibrator="half").applied(load_recipe("default")).written()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("mine = kit_module:Missing", "has no attribute 'Missing'"),
        ("mine = no_such_module:X", "No module named 'no_such_module'"),
        ("mine = kit_module:NOT_ONE", "it is a str, not"),
        ("mine = kit_module:UNNAMED", "it calls itself 'other'"),
    ],
)
def test_a_backend_that_is_none_is_an_error_of_its_package(offer: Offer, entry: str, said: str) -> None:
    offer("kit", backends=entry)
    with pytest.raises(RecipeError, match=r"backend 'mine' of kit 1\.0 .*cannot be used") as caught:
        backend_of("mine")
    assert said in str(caught.value) and "Mend the package" in str(caught.value)


def test_whatever_a_package_raises_is_one_error(offer: Offer) -> None:
    offer("kit", "raise KeyError('broken')", backends="mine = kit_module:X", passes="note = kit_module:X")
    with pytest.raises(RecipeError, match=r"kit 1\.0 .*KeyError: 'broken'"):
        backend_of("mine")
    with pytest.raises(RecipeError, match=r"^recipe: the pass 'note' of kit 1\.0"):
        load_recipe({"passes": ["note"]})
    assert backend_of("qnn").title == "QNN"  # others work on


@pytest.mark.parametrize(
    ("group", "entry", "said"),
    [
        ("passes", "note = kit_module:BACKEND", "it is not a pass"),
        ("passes", "other = kit_module:Note", "it calls itself 'note'"),
        ("calibrators", "half = kit_module:NOT_ONE", "it is a str"),
        ("calibrators", "half = kit_module:Note", "it has no 'histogram'"),
    ],
)
def test_a_pass_or_calibrator_that_is_none_is_an_error_of_its_package(
    offer: Offer, group: str, entry: str, said: str
) -> None:
    offer("kit", **{group: entry})
    name = entry.split()[0]
    step: object = name if group == "passes" else {"calibrate": {"activations": name}}
    with pytest.raises(RecipeError, match=r"kit 1\.0") as caught:
        load_recipe({"passes": [step]})
    assert said in str(caught.value)


def test_a_name_of_onnxqs_own_cannot_be_taken(offer: Offer) -> None:
    offer(
        "thief",
        backends="openvino = thief_module:BACKEND\nsnpe = thief_module:BACKEND",
        passes="plan = thief_module:Note",
        calibrators="mse = thief_module:Half",
    )
    for name in ("openvino", "snpe"):
        with pytest.raises(RecipeError, match=rf"thief 1\.0 offers a backend '{name}', which is a name of onnxq's own"):
            backend_of(name)
    with pytest.raises(RecipeError, match=r"thief 1\.0 offers a pass 'plan'"):
        load_recipe({"passes": ["plan"]})
    model, samples = model_and_samples()
    with pytest.raises(RecipeError, match=r"thief 1\.0 offers a calibrator 'mse'"):
        quantize(model, samples, backend="onnxruntime", options=Options(build=False))


def test_two_packages_cannot_share_a_name(offer: Offer) -> None:
    offer("one", backends="mine = one_module:BACKEND")
    offer("two", backends="mine = two_module:BACKEND")
    with pytest.raises(RecipeError, match=r"one 1\.0 and two 1\.0 both offer a backend 'mine'"):
        backend_of("mine")


def test_an_unknown_name_lists_what_is_offered(offer: Offer) -> None:
    offer("kit", backends="my_npu = kit_module:BACKEND")
    with pytest.raises(RecipeError, match=r"unknown backend 'my_npx'. Did you mean 'my_npu'\?"):
        backend_of("my_npx")
    assert plugins.offered("pass") == ()


def test_nothing_is_imported_before_it_is_asked_for(offer: Offer) -> None:
    offer("kit", "raise SystemExit('imported')", backends="mine = kit_module:BACKEND")
    assert "mine" in backend_names()
    assert onnxq.load_recipe("default").passes


def wheel(folder: Path, module: str, entries: dict[str, dict[str, str]]) -> Path:
    """A package of one module with entry points, as a build backend would pack it."""
    path, info = folder / "my_package-0.1-py3-none-any.whl", "my_package-0.1.dist-info"
    points = [f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in found.items()) for group, found in entries.items()]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("my_package/__init__.py", "")
        archive.writestr("my_package/my_npu.py", module)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: my_package\nVersion: 0.1\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", "\n".join(points))
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.mark.slow
def test_the_package_of_the_documentation_installs_and_is_found(tmp_path: Path) -> None:
    text = (ROOT / "docs/targets.md").read_text()
    section = text[text.index("## Add a target") :]
    module = re.search(r"^```python\n(.*?)^```$", section, re.M | re.S)
    entries = re.search(r"^```text\n(.*?)^```$", section, re.M | re.S)
    assert module is not None and entries is not None
    points = tomllib.loads(entries[1])["project"]["entry-points"]
    assert len(section.splitlines()) < 40
    assert all(group in section for group in plugins.GROUPS.values())
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    package = wheel(tmp_path, module[1], points)
    subprocess.run([*words, str(tmp_path / "site"), str(package)], check=True, capture_output=True)
    onnx.save(model_and_samples()[0], tmp_path / "m.onnx")
    command = ["quantize", "m.onnx", "--data", "random", "--backend", "my_npu", "--out", "out/"]
    done = subprocess.run(
        [sys.executable, "-m", "onnxq", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT)])},
    )
    assert done.returncode == 0, done.stderr
    assert "My NPU" in done.stdout and "simulated, not built" in done.stdout
    written = {"m.my_npu.onnx", "m.my_npu.encodings.json", "m.my_npu.simulated.onnx"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == written
