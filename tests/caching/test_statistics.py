"""Statistics in a cache serve whatever wants the same of the same samples, and nothing else."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxq
from onnxq import Options
from onnxq.caching.store import Store
from onnxq.passes import calibrate
from onnxq.result import Result
from onnxq.testing import normal, parse
from onnxq.watching import watch

TEXT = """g (float[N,3,8,8] x) => (float[N,4,8,8] y)
{ c = Conv<pads = [1,1,1,1]>(x, w) y = Relu(c) }"""


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tensors were measured on samples, run by run."""
    found: list[int] = []

    def counted(model: onnx.ModelProto, watchers: dict[object, object], *given: object, **named: object) -> object:
        found.append(len(watchers))
        return watch(model, watchers, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(calibrate, "watch", counted)
    return found


def run(cache: Path | None, seed: int = 0, weight: int = 0, recipe: str | None = None, **options: object) -> Result:
    model, data = parse(TEXT, w=normal(4, 3, 3, 3, seed=weight)), normal(8, 3, 8, 8, seed=seed)
    values = Options(build=False, cache=cache, solver="nearest", **options)  # type: ignore[arg-type]
    return onnxq.quantize(model, data, recipe=recipe, options=values)


def test_measured_once(tmp_path: Path, measured: list[int]) -> None:
    first = run(tmp_path / "cache", calibrator="minmax")
    assert len(measured) == 1
    second = run(tmp_path / "cache", calibrator="minmax", weight_bits=6)
    assert len(measured) == 1
    assert first.quantized != second.quantized
    fresh = run(None, calibrator="minmax", weight_bits=6)
    assert fresh.quantized == second.quantized
    assert [e.reason for e in second["onnxruntime"].ledger.entries if "not in it" in e.reason] == []


def test_what_another_calibrator_wants_is_added(tmp_path: Path, measured: list[int]) -> None:
    run(tmp_path / "cache", calibrator="minmax")
    run(tmp_path / "cache", calibrator="entropy")  # of a histogram
    assert len(measured) == 2
    run(tmp_path / "cache", calibrator="entropy")
    run(tmp_path / "cache", calibrator="minmax")
    assert len(measured) == 2
    assert len(Store(tmp_path / "cache").entries("statistics")) == 1


def test_other_samples_and_models_are_measured(tmp_path: Path, measured: list[int]) -> None:
    for seed, weight in ((0, 0), (1, 0), (0, 1)):
        run(tmp_path / "cache", seed, weight)
    assert len(measured) == 3
    assert len(Store(tmp_path / "cache").entries("statistics")) == 3


def test_damaged_ones_are_measured_again(tmp_path: Path, measured: list[int]) -> None:
    first = run(tmp_path / "cache")
    (file,) = (tmp_path / "cache").rglob("statistics.npz")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    second = run(tmp_path / "cache")
    assert len(measured) == 2
    assert first.quantized == second.quantized
    assert np.load(file, allow_pickle=False).files
