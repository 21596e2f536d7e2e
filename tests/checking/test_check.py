"""``check``: the engine beside the simulation and the float model, at every batch size."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from onnxq.backends import tensorrt
from onnxq.checking.check import LIFTED, check, feeds_of
from onnxq.checking.parity import Output, parity
from onnxq.errors import DataError, ModelError, RecipeError
from onnxq.handmade import I8, POSITIVE, U8, handmade
from onnxq.inputs import input_specs
from onnxq.testing import normal, parse

TEXT = """g (float[N,8,8,8] x) => (float[N,8,8,8] y) {
    [one] a = Conv<pads = [1,1,1,1]>(x, w, b) [act] r = Relu(a) [two] y = Conv(r, v, b) }"""
WEIGHTS = {"w": normal(8, 8, 3, 3, scale=0.2), "v": normal(8, 8, 1, 1, seed=1, scale=0.4), "b": normal(8)}
W = I8.along(0)


@pytest.fixture(scope="module")
def source() -> onnx.ModelProto:
    return parse(TEXT, 17, **WEIGHTS)


@pytest.fixture(scope="module")
def quantized(source: onnx.ModelProto) -> onnx.ModelProto:
    return handmade(source, x=U8, r=POSITIVE, y=U8, w=W, v=W)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_all_of_a_right_graph(quantized: onnx.ModelProto, source: onnx.ModelProto, backend: str) -> None:
    pytest.importorskip(backend)
    found = check(quantized, backend, float_model=source, batches=(1, 4), seconds=0.0)
    assert found.problem is None and found.problems == () and found.quantized
    assert found.reading is not None and found.reading.executed
    assert found.int8_macs == 1
    assert found.macs == {"one": 8 * 64 * 72, "two": 8 * 64 * 8}  # of one sample, at any batch
    assert [entry.batch for entry in found.parities] == [1, 4]
    for entry in found.parities:
        assert entry.speedup is not None and entry.speedup > 0
        assert entry.right == entry.batch
        (out,) = entry.outputs
        assert not out.wrong and out.engine_graph > 29
        assert out.graph_float is not None and 25 < out.graph_float < 60
        assert out.engine_float == pytest.approx(out.graph_float, abs=1)
    assert found.float_model == "the float model given"
    assert "RANDOM" in found.data


def test_without_a_float_model_the_q_dq_are_taken_out(quantized: onnx.ModelProto, source: onnx.ModelProto) -> None:
    lifted, given = (check(quantized, "onnxruntime", float_model=m, seconds=0.0) for m in (None, source))
    assert lifted.float_model == LIFTED
    assert lifted.macs == given.macs
    one, other = (found.parities[0].outputs[0].graph_float for found in (lifted, given))
    assert one is not None and other is not None and one == pytest.approx(other, abs=3)  # its weights stay rounded


def test_a_float_model_is_said_to_be_one(source: onnx.ModelProto) -> None:
    found = check(source, "onnxruntime", seconds=0.0)
    assert not found.quantized and found.int8_macs == 0 and found.findings == ()
    assert found.bare == {"one", "two"}
    with pytest.raises(ModelError, match="already quantized"):
        check(source, "onnxruntime", float_model=handmade(source, x=U8))


def test_tensorrt_is_compiled_and_not_compared(source: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setattr(tensorrt, "_gpu_present", lambda: False)
    found = check(handmade(source, x=I8, r=I8, w=W, v=W), "tensorrt", batches=(1, 2))
    assert found.reading is not None and not found.reading.executed
    assert found.int8_macs == 1 and found.parities == () and found.problems == ()
    refused = check(handmade(source, x=U8, r=I8, w=W, v=W), "tensorrt")
    assert refused.reading is None and refused.int8_macs is None
    assert "refuses" in refused.problems[0] and refused.problems[1].startswith("asymmetric: ")


def test_a_model_of_fixed_batch_is_run_at_that() -> None:
    model = handmade(parse(TEXT.replace("float[N,8", "float[3,8"), 17, **WEIGHTS), x=U8, r=POSITIVE, y=U8, w=W, v=W)
    found = check(model, "onnxruntime", batches=(1, 64), seconds=0.0)
    assert [entry.batch for entry in found.parities] == [3]


def test_samples_of_a_batch_all_differ(source: onnx.ModelProto) -> None:
    fed = feeds_of(input_specs(source), None, (2, 5))
    assert [len(feeds["x"]) for feeds in fed.feeds] == [2, 5]
    assert len({row.tobytes() for row in fed.feeds[1]["x"]}) == 5


@pytest.mark.parametrize(
    ("batches", "message"),
    [((8,), r"--batch 8 wants 8 samples. Give more, or ask for --batch 4"), ((0,), "at least 1")],
)
def test_too_few_samples(source: onnx.ModelProto, batches: tuple[int, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check(source, "onnxruntime", data={"x": normal(4, 8, 8, 8)}, batches=batches)


def test_unknown_backends_are_named(source: onnx.ModelProto) -> None:
    with pytest.raises(RecipeError, match="Did you mean 'openvino'"):
        check(source, "openvin")


@pytest.mark.parametrize(
    ("engine_graph", "graph_float", "engine_float", "wrong"),
    [
        (35.0, 28.0, 28.5, False),  # as engines do
        (29.0, 27.7, 27.0, False),
        (1.7, 28.0, 2.0, True),
        (8.0, 6.0, 8.0, False),  # the graph is coarse; the engine is no worse
        (22.0, 30.0, 21.0, True),
        (float("nan"), 30.0, None, True),
        (16.0, None, None, False),
        (14.0, None, None, True),
    ],
)
def test_what_counts_as_wrong(
    engine_graph: float, graph_float: float | None, engine_float: float | None, wrong: bool
) -> None:
    assert Output("y", engine_graph, graph_float, engine_float).wrong == wrong


def outputs(change: Callable[[np.ndarray], None]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    graph = normal(8, 10)
    engine = graph + normal(8, 10, seed=1, scale=0.01)
    change(engine)
    return {"y": graph}, {"y": engine}


def only_first(engine: np.ndarray) -> None:
    engine[1:] = normal(7, 10, seed=5)


def not_finite(engine: np.ndarray) -> None:
    engine[3] = np.inf


@pytest.mark.parametrize(("change", "right"), [(only_first, 1), (not_finite, 7)])
def test_a_batch_of_which_some_samples_are_right(change: Callable[[np.ndarray], None], right: int) -> None:
    graph, engine = outputs(change)
    found = parity("Engine", {"x": np.zeros((8, 1))}, {"y": graph["y"] + 0.01}, graph, engine, None)
    assert found.right == right
    (finding,) = found.findings
    assert (finding.rule, finding.severity) == ("outputs", "wrong")
    assert f"{right} of 8 samples are right" in finding.why
    assert parity("Engine", {"x": np.zeros((8, 1))}, None, *outputs(lambda _: None), None).findings == ()


def test_a_model_slower_than_its_float_self_is_told() -> None:
    same = outputs(lambda _: None)
    slow, fast, tiny = (parity("E", {}, None, *same, times) for times in ((0.01, 0.02), (0.01, 0.005), (1e-5, 1e-4)))
    assert [entry.rule for entry in slow.findings] == ["time"] and "0.50 times" in slow.findings[0].why
    assert fast.findings == tiny.findings == ()
