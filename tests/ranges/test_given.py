"""Ranges from a file choose grids as they are; what does not fit the graph is told, and the samples tell the rest."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxq.errors import DataError, ModelError
from onnxq.options import Options
from onnxq.passes import Calibrate, PlanIntegers
from onnxq.pipeline import quantize
from onnxq.ranges.range_file import read_ranges
from onnxq.recipe import load_recipe
from onnxq.result import BackendResult
from onnxq.testing import changes_nothing, normal, parse, workspace
from onnxq.workspace import Workspace

MODEL = parse(
    """g (float[N,4] x) => (float[N,4] y) {
    [one] a = MatMul(x, w) [act] b = Relu(a) [two] c = MatMul(b, w) [exp] y = Exp(c) }""",
    w=normal(4, 4),
)
X = {"x": normal(8, 4, seed=1)}


def planned(**ranges: list[float]) -> Workspace:
    Path("r.json").write_text(json.dumps(ranges))
    space = workspace(MODEL, X)
    PlanIntegers()(space)
    return space


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_range_that_is_given_is_taken_and_the_samples_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    space = planned(x=[-2, 3.1], b=[0, 51])

    def ran(*_: object, **__: object) -> None:
        raise ModelError("it ran")

    monkeypatch.setattr("onnxq.passes.calibrate.watch", ran)
    monkeypatch.setattr("onnxq.ranges.own_tensors.Session", ran)
    assert Calibrate(ranges="r.json")(space)
    assert float(space.activations["x"].scale) == pytest.approx(5.1 / 255)
    assert int(space.activations["x"].zero_point) == 100
    assert float(space.activations["b"].scale) == pytest.approx(0.2)
    assert not space.ledger.entries
    assert changes_nothing(space, Calibrate(ranges="r.json"))


def test_the_samples_tell_what_the_file_lacks_and_both_sides_are_told() -> None:
    space = planned(x=[-2, 3.1], other=[0, 1], y=[0, 1])
    Calibrate("minmax", ranges="r.json")(space)
    b = np.maximum(X["x"] @ normal(4, 4), 0)
    assert float(space.activations["b"].scale) == pytest.approx(b.max() / 255, rel=1e-5)
    assert [entry.reason for entry in space.ledger.of("warning")] == [
        "r.json names tensors that are not in the graph: 'other'",
        "r.json lacks tensors that become integer; the samples tell their ranges: 'b'",
    ]


def test_a_tensor_that_is_said_to_be_zero_stays_float() -> None:
    space = planned(x=[-2, 3.1], b=[0, 0])
    Calibrate(ranges="r.json")(space)
    assert space.plan.floats["two"] == "the range given for its activation 'b' is nothing but zero"
    assert set(space.activations) == {"x"}


def test_a_bad_file_is_refused_before_anything_is_done() -> None:
    Path("r.json").write_text("{")
    for wanted in ({"ranges": "r.json"}, {"ranges": "no.json"}):
        with pytest.raises(DataError, match=r"not valid JSON|no such file"):
            load_recipe({"passes": ["plan", {"calibrate": wanted}, "round_weights", "insert_qdq"]})


def unlike() -> onnx.ModelProto:
    """Channels of the activation between the layers reach from 1 to 100, which the default recipe balances."""
    spread = np.float32(10) ** np.linspace(0, 2, 16, dtype=np.float32)
    return parse(
        "g (float[N,16] x) => (float[N,16] y) { [one] a = MatMul(x, w) [act] b = Relu(a) [two] y = MatMul(b, v) }",
        w=normal(16, 16) * spread,
        v=normal(16, 16, seed=1) / spread[:, np.newaxis],
    )


def quantized(model: onnx.ModelProto, backend: str = "onnxruntime", **options: object) -> BackendResult:
    found = quantize(
        model, {"x": normal(64, 16, seed=2)}, backend=backend, options=Options(build=False, **options)  # type: ignore[arg-type]
    )  # fmt: skip
    return found[backend]


def test_tensors_that_passes_rescaled_are_neither_taken_nor_given_away() -> None:
    first = quantized(unlike(), export_ranges=True)
    assert first.ranges is not None and "b" in first.activations and "b" not in first.ranges
    assert any("are not exported: 'b'" in reason for reason, _ in first.ledger.reasons("warning"))
    Path("r.json").write_text(json.dumps({"b": [0, 1]}))
    second = quantized(unlike(), ranges="r.json")
    assert float(second.activations["b"].scale) == float(first.activations["b"].scale)
    assert any("passes before changed" in reason for reason, _ in second.ledger.reasons("warning"))


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
@pytest.mark.parametrize("name", ["r.json", "r.cache"])
def test_ranges_that_went_out_come_back_the_same(backend: str, name: str) -> None:
    model = parse(
        "g (float[N,16] x) => (float[N,16] y) { a = MatMul(x, w) b = Relu(a) [two] c = MatMul(b, w) y = Relu(c) }",
        w=normal(16, 16),
    )
    before = quantized(model, backend, export_ranges=True)
    before.save_ranges(Path(name))
    assert read_ranges(name).keys() == before.activations.keys() - {"x/balanced"}
    after = quantized(model, backend, ranges=name)
    assert after.activations.keys() == before.activations.keys()
    for tensor, grid in before.activations.items():  # both are symmetric, or not negative
        assert after.activations[tensor].scheme == grid.scheme
        assert int(after.activations[tensor].zero_point) == int(grid.zero_point)
        np.testing.assert_allclose(after.activations[tensor].scale, grid.scale, rtol=2e-7)


def test_a_symmetric_range_of_what_cannot_be_negative_starts_at_zero() -> None:
    space = planned(x=[-2, 2], b=[-3, 3])
    Calibrate(ranges="r.json")(space)
    assert float(space.activations["x"].scale) == pytest.approx(4 / 255)
    assert float(space.activations["b"].scale) == pytest.approx(3 / 255)
