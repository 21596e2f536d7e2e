"""``diagnose()``: the layer that was broken is named first, and the recipe that is recommended mends it."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from broken import PLAIN, broken, folded
from corpus import judge
from onnxq import DataError, Options, quantize
from onnxq.diagnosing.diagnose import Diagnosed, diagnose
from onnxq.held_out import noise
from onnxq.model import load_model
from onnxq.recipe import load_recipe
from onnxq.testing import normal, parse
from onnxq.validation import parse_yaml

CHAIN = """chain (float[N,3,8,8] x) => (float[N,5] y)
{
  [c1] a = Conv<pads = [1,1,1,1]>(x, w1, b1) [r1] ra = Relu(a)
  [c2] b = Conv<pads = [1,1,1,1]>(ra, w2, b2) [r2] rb = Relu(b)
  [c3] c = Conv<pads = [1,1,1,1]>(rb, w3, b3) [r3] rc = Relu(c)
  [pool] p = GlobalAveragePool(rc) [flat] f = Flatten(p) [fc] y = Gemm(f, w4, b4)
}"""
CORPUS = os.environ.get("ONNXQ_CORPUS")
corpus = pytest.mark.skipif(not CORPUS, reason="set ONNXQ_CORPUS to a folder of real models to diagnose them")
FEEDS = {"x": normal(32, 3, 8, 8, seed=9)}


def chain() -> onnx.ModelProto:
    shapes = {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3), "w3": (8, 8, 3, 3), "w4": (8, 5)}
    weights = {name: normal(*shape, seed=seed) for seed, (name, shape) in enumerate(shapes.items())}
    biases = {f"b{i}": normal(size, seed=10 + i) for i, size in enumerate((8, 8, 8, 5), 1)}
    return parse(CHAIN, 17, **weights, **biases)


def found_in(model: onnx.ModelProto, budget: float = 60) -> Diagnosed:
    return diagnose(model, FEEDS, backend="openvino", recipe=PLAIN, budget=budget)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_broken_layer_is_named_first_and_mended(index: int) -> None:
    model, layer = broken(chain(), index)
    found = found_in(model)
    assert found.sanity.sane
    assert found.layers[0].site.layer == layer
    assert f"The worst layer is {layer}" in " ".join(found.advice)
    kinds = {symptom.kind for symptom in found.symptoms[layer]}
    assert "outlier_channel" in kinds
    first = found.layers[0]
    assert first.left_out is not None
    assert first.left_out < 0.1 * found.parts.both  # everything else quantized, it was this layer
    assert all(other.alone < 0.1 * first.alone for other in found.layers[1:])
    entry = quantize(
        model, FEEDS, backend="openvino", recipe=parse_yaml(found.recipe, "recipe"), options=Options(build=False)
    ).quantized
    before = quantize(model, FEEDS, backend="openvino", recipe=PLAIN, options=Options(build=False)).quantized
    was, now = noise(load_model(model), [before, entry], [FEEDS])
    assert now < 1e-3 < was
    assert found.cure.noise == pytest.approx(now, rel=0.5)


HEADS = """heads (float[N,3,8,8] x) => (float[N,13,8,8] y)
{
  [c1] a = Conv<pads = [1,1,1,1]>(x, w1, b1) [r1] ra = Relu(a)
  [c2] b = Conv<pads = [1,1,1,1]>(ra, w2, b2) [r2] rb = Relu(b)
  [boxes] big = Conv(rb, w3, b3) [scores] small = Conv(rb, w4, b4)
  [join] j = Concat<axis = 1>(big, small) [turn] y = Identity(j)
}"""


def test_a_head_that_is_lost_is_heard_though_it_is_small() -> None:
    """The layer of small scores is 50 dB below that of boxes: nearly nothing of the one output is lost."""
    shapes = {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3), "w3": (8, 8, 1, 1), "w4": (5, 8, 1, 1)}
    weights = {name: normal(*shape, seed=seed) for seed, (name, shape) in enumerate(shapes.items())}
    weights["w4"] *= 0.003
    biases = {f"b{i}": 0 * normal(size) for i, size in enumerate((8, 8, 8, 5), 1)}
    healthy = parse(HEADS, 17, **weights, **biases)
    model, layer = broken(healthy, 3, factor=1000)
    found = found_in(model)
    first = found.layers[0]
    assert (first.site.layer, layer) == ("scores", "scores")
    assert first.ends["big"] == 0 and first.worst == first.ends["small"] > 0.1
    assert first.alone < 1e-3 and first.alone < max(other.alone for other in found.layers[1:])
    assert "of 'small', one of 2 that the outputs are joined of" in " ".join(found.advice)
    assert {name for one in found.layers for name in one.ends} == {"big", "small"}


def test_layers_sum_up_to_the_whole() -> None:
    """Of a healthy network: noises of layers alone, which hardly depend on each other, make up that of all."""
    found = found_in(chain())
    assert all(one.measured and one.left_out is not None for one in found.layers)
    assert sum(one.alone for one in found.layers) == pytest.approx(found.parts.both, rel=0.5)
    parts = found.parts
    assert parts.weights + parts.activations == pytest.approx(parts.both, rel=0.5)
    assert sum(one.weights or 0 for one in found.layers) == pytest.approx(parts.weights, rel=0.5)
    assert [one.alone for one in found.layers] == sorted((one.alone for one in found.layers), reverse=True)


def test_no_time_is_said() -> None:
    found = found_in(chain(), budget=1e-3)
    assert not any(one.measured for one in found.layers if one.site.op)
    assert found.cure.alone == () and "per_channel" in found.cure.untried
    assert load_recipe(parse_yaml(found.recipe, "recipe")).written() == load_recipe(PLAIN).written()


def test_a_model_that_is_not_sane() -> None:
    model = chain()
    (w4,) = (tensor for tensor in model.graph.initializer if tensor.name == "w4")
    w4.CopyFrom(onnx.numpy_helper.from_array(np.zeros((8, 5), np.float32), "w4"))
    found = found_in(model)
    assert not found.sanity.sane
    assert "FP32" in found.advice[0]


def test_outputs_that_cannot_be_compared() -> None:
    model = parse(
        "dead (float[N,3,8,8] x) => (float[N,4,6,6] y) { [c] a = Conv(x, w, b) y = Relu(a) }",
        17,
        w=normal(4, 3, 3, 3),
        b=np.full(4, -1e4, np.float32),
    )
    with pytest.raises(DataError, match="no output can be compared"):
        diagnose(model, FEEDS, backend="openvino", recipe=PLAIN)


@corpus
@pytest.mark.parametrize(
    ("name", "task", "index"),
    [
        ("resnet20", "cifar10", 7),
        ("mobilenetv2_cifar10", "cifar10", 20),
        ("yolox_nano", "coco", 15),
        ("yolox_nano", "coco", 90),
    ],
)
def test_real_models(name: str, task: str, index: int, tmp_path: Path) -> None:
    source = load_model(Path(CORPUS or "") / "models" / f"{name}.onnx")
    model, layer = broken(folded(source), index)
    path, (given,) = tmp_path / "broken.onnx", [value.name for value in model.graph.input]
    onnx.save(model, path)
    feeds = {given: judge().calibration(task, 64 if task == "coco" else 512)}
    found = diagnose(path, feeds, backend="openvino", recipe=PLAIN, options=Options(samples=32), budget=200)
    assert found.layers[0].site.layer == layer
    result = quantize(
        path, feeds, backend="openvino", recipe=parse_yaml(found.recipe, "recipe"), options=Options(build=False)
    )
    result.save(tmp_path / "mended.onnx")
    key = "ap" if task == "coco" else "top1"
    fp32, mended = (
        float(judge().measure(str(tmp_path / file), task, "openvino", None, judge().DATA)[0][key])
        for file in ("broken.onnx", "mended.onnx")
    )
    assert mended >= fp32 - 0.3
