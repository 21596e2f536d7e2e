"""``inspect``: a model's contents, plans and weights, with neither data nor engines."""

import os
import sys
import time
from pathlib import Path

import onnx
import pytest

import onnxq
from onnxq.backends import backend_names
from onnxq.errors import ModelError
from onnxq.handmade import I8, POSITIVE, U8, handmade
from onnxq.testing import normal, parse

CORPUS = os.environ.get("ONNXQ_CORPUS")
corpus = pytest.mark.skipif(not CORPUS, reason="set ONNXQ_CORPUS to a folder of real models to inspect them")
FOLDER = Path(CORPUS or ".") / "models"
TEXT = "g (float[N,3,8,8] x) => (float[N,4,8,8] y) { [one] a = Conv(x, w) [act] y = Relu(a) }"


@pytest.fixture
def model() -> onnx.ModelProto:
    return parse(TEXT, w=normal(4, 3, 1, 1))


def test_neither_data_nor_engines(model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("openvino", "tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    found = onnxq.inspect(model)
    assert list(found.plans) == ["onnxruntime", "openvino", "tensorrt"]
    assert {plan.int8_macs for plan in found.plans.values()} == {1}
    assert list(onnxq.inspect(model, backend=backend_names()).plans) == list(backend_names())


def test_weights_are_those_that_become_integers() -> None:
    """With what is folded into them: a batch norm that makes one channel ten times as large."""
    text = TEXT.replace("Relu(a)", "BatchNormalization<epsilon = 0.0>(a, k, z, z, o)")
    one = normal(4, seed=1) * 0 + 1
    factor = one.copy()
    factor[2] = 10
    model = parse(text, w=normal(4, 3, 1, 1) * 0 + 1, k=factor, z=one * 0, o=one)
    (found,) = onnxq.inspect(model).weights
    assert (found.layer, found.outlier) == ("one", 2)
    assert found.spread == pytest.approx(10)


def test_a_card_and_its_recipe() -> None:
    found = onnxq.inspect(onnxq.load_card("digits_mobilenet"), backend="openvino")
    assert found.model == "digits_mobilenet"
    assert found.plans["openvino"].int8_macs == 1


def test_a_quantized_model_shows_what_it_holds(model: onnx.ModelProto) -> None:
    found = onnxq.inspect(handmade(model, {"x": U8, "y": POSITIVE, "w": I8.along(0)}))
    assert found.contents.quantized and found.plans == {} and found.weights == ()
    assert found.problem is not None and "already quantized" in found.problem
    assert found.contents.macs == 64 * 4 * 3


def test_an_operator_that_nothing_here_can_run(model: onnx.ModelProto) -> None:
    model.graph.node.add(op_type="Strange", domain="mine", name="odd", input=["y"], output=["z"])
    model.opset_import.append(onnx.helper.make_opsetid("mine", 1))
    found = onnxq.inspect(model, backend="onnxruntime")
    assert [(entry.op, entry.nodes) for entry in found.contents.operators if "mine" in entry.op] == [
        ("mine.Strange", 1)
    ]
    assert found.plans["onnxruntime"].integer == ("one",)


def test_what_is_no_model() -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx: no such file"):
        onnxq.inspect("gone.onnx")


@corpus
def test_yolox_nano_in_two_seconds() -> None:
    start = time.process_time()
    found = onnxq.inspect(FOLDER / "yolox_nano.onnx")
    assert time.process_time() - start < 2
    assert {plan.int8_macs for plan in found.plans.values()} == {1}
    conv = found.contents.operators[0]
    assert (conv.op, conv.nodes, conv.weight_bytes) == ("Conv", 113, 4 * 904_463)
    assert conv.macs == found.contents.macs
    assert 0.52e9 < found.contents.macs < 0.53e9


BLOCKS = {f"/layer{k}/layer{k}.{i}/conv1/Conv" for k in (1, 2, 3) for i in range(3)}
DEPTHWISE = {"conv0", "dw0", "dw1", "dw2", "dw3", "pw0", "pw1", "pw2"}


@corpus
@pytest.mark.parametrize(("name", "spread"), [("resnet20", BLOCKS), ("kws_dscnn", DEPTHWISE)])
def test_layers_that_were_spread_are_on_top(name: str, spread: set[str]) -> None:
    """Log-normal factors are on the channels that these make, and the next layers take them back."""
    plain = onnxq.inspect(FOLDER / f"{name}.onnx").weights
    found = onnxq.inspect(FOLDER / f"{name}_spread.onnx").weights
    assert {entry.layer for entry in found[: len(spread)]} == spread
    assert all(entry.loss_db > 10 for entry in found[: len(spread)])
    assert found[0].spread > 10 * plain[0].spread
