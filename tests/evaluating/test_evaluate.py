"""``evaluate()``: the same number for the FP32 model, the graph and the engine, from the same samples."""

import math
import os
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.backends import tensorrt
from onnxq.errors import DataError, EngineMissing, ModelError, RecipeError
from onnxq.evaluating.evaluate import Evaluated, evaluate
from onnxq.handmade import I8, POSITIVE, U8, handmade
from onnxq.metrics import Top1
from onnxq.preprocess import Preprocessing
from onnxq.testing import normal, parse, run

TEXT = """g (float[N,4,6,6] x) => (float[N,5] y)
    { [one] a = Conv(x, w) [act] r = Relu(a) [pool] p = GlobalAveragePool(r) [flat] f = Flatten(p)
      [two] y = Gemm(f, v) }"""
IMAGES = normal(50, 4, 6, 6)


@pytest.fixture(scope="module")
def source() -> onnx.ModelProto:
    return parse(TEXT, 17, w=normal(8, 4, 3, 3, scale=0.3), v=normal(8, 5, seed=1))


@pytest.fixture(scope="module")
def quantized(source: onnx.ModelProto) -> onnx.ModelProto:
    return handmade(source, x=U8, r=POSITIVE, w=I8.along(0))


@pytest.fixture(scope="module")
def data(source: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Labels that the float model has right but for every fifth."""
    labels = run(source, x=IMAGES)["y"].argmax(1)
    return {"x": IMAGES, "labels": (labels + (np.arange(50) % 5 == 0)) % 5}


def values(found: Evaluated) -> list[float | None]:
    return [row.values[0].value for row in found.rows]


@pytest.mark.parametrize("batch", [1, 7, 64])
@pytest.mark.parametrize("engine", ["simulation", "onnxruntime", "openvino"])
def test_one_number_for_all(
    source: onnx.ModelProto, quantized: onnx.ModelProto, data: dict[str, np.ndarray], engine: str, batch: int
) -> None:
    if engine != "simulation":
        pytest.importorskip(engine)
    found = evaluate([source, quantized], data, metric="top1", engines=engine, batch=batch)
    first, second = found.rows
    wanted = 100 * np.mean(run(quantized, x=IMAGES)["y"].argmax(1) == data["labels"])
    assert first.values[0].value == 80 and first.values[0].lost == 0
    assert second.values[0].value == pytest.approx(wanted, abs=0 if engine == "simulation" else 2)
    assert second.values[0].lost == pytest.approx(80 - (second.values[0].value or 0))
    assert (first.samples, second.samples, found.batch) == (50, 50, batch)
    assert (first.quantized, second.quantized) == (False, True)
    assert first.deployed == second.deployed == (engine != "simulation")
    assert (first.model, second.model, second.engine) == ("model 1", "model 2", engine)
    assert first.seconds > 0 and found.problems == ()
    assert engine == "simulation" or (second.reading is not None and len(second.reading.layers) == 2)


def test_without_labels_against_a_reference(source: onnx.ModelProto, quantized: onnx.ModelProto) -> None:
    found = evaluate(quantized, IMAGES, metric=["sqnr", "agreement"], engines="simulation", reference=source, batch=16)
    reference, row = found.rows
    assert (reference.model, reference.engine, reference.deployed) == ("reference", "onnxruntime", True)
    real, made = run(source, x=IMAGES)["y"].astype(float), run(quantized, x=IMAGES)["y"].astype(float)
    wanted = 10 * math.log10(np.sum(real**2) / np.sum((real - made) ** 2))
    assert row.values[0].value == pytest.approx(wanted, abs=0.01)
    assert row.values[1].value == pytest.approx(100 * np.mean(real.argmax(1) == made.argmax(1)))
    assert all(value.lost is None and value.compares for value in row.values)


def test_the_first_of_several_is_the_reference(source: onnx.ModelProto, quantized: onnx.ModelProto) -> None:
    found = evaluate([source, quantized], IMAGES, metric="sqnr", engines="simulation")
    assert values(found)[0] == math.inf and 20 < (values(found)[1] or 0) < 60
    with pytest.raises(
        RecipeError, match="metric sqnr compares with a reference, and there is one model on one engine"
    ):
        evaluate(quantized, IMAGES, metric="sqnr")


def test_a_metric_may_be_an_object(source: onnx.ModelProto, data: dict[str, np.ndarray]) -> None:
    class Right:
        """A metric that wants everything at once."""

        name, unit = "right", "images"

        def measure(self, outputs: object, labels: np.ndarray) -> float:
            assert isinstance(outputs, dict)
            return float(np.sum(outputs["y"].argmax(1) == labels))

    found = evaluate(source, data, metric=[Right(), Top1()], batch=7)
    assert [(value.metric, value.unit, value.value) for value in found.rows[0].values] == [
        ("right", "images", 40), ("top1", "%", 80)
    ]  # fmt: skip


def test_a_model_of_a_fixed_batch_decides_it(source: onnx.ModelProto, data: dict[str, np.ndarray]) -> None:
    fixed = onnx.ModelProto()
    fixed.CopyFrom(source)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 8
    found = evaluate([source, fixed], data, metric="top1", engines="simulation", batch=3)
    assert values(found) == [80, 80] and found.batch == 8
    other = onnx.ModelProto()
    other.CopyFrom(fixed)
    other.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    with pytest.raises(ModelError, match="model 1 fixes the batch to 8 and model 2 to 4"):
        evaluate([fixed, other], data, metric="top1")


def test_samples_are_limited(source: onnx.ModelProto, data: dict[str, np.ndarray]) -> None:
    found = evaluate(source, data, metric="top1", samples=5)
    assert (found.rows[0].samples, values(found)) == (5, [80])


def test_a_card_brings_everything() -> None:
    digits = onnxq.load_card("digits_mobilenet")
    found = onnxq.evaluate(digits, engines="simulation", batch=50)
    assert values(found) == [pytest.approx(digits.accuracy, abs=0.2)]
    assert (found.rows[0].model, found.data) == ("digits_mobilenet", "test.npz, 500 samples")
    boxes = onnxq.load_card("shapes_detector")
    assert values(onnxq.evaluate(boxes)) == [pytest.approx(boxes.accuracy, abs=0.2)]


def test_a_refusal_is_in_its_row(source: onnx.ModelProto, data: dict[str, np.ndarray]) -> None:
    pytest.importorskip("openvino")
    strange = parse("g (float[N,4,6,6] x) => (float[N,4,6,6] y) { y = my.op(x) }")
    strange.opset_import.add(domain="my", version=1)
    strange.graph.node[0].domain, strange.graph.node[0].op_type = "my", "Op"
    found = evaluate([source, strange], data, metric="top1", engines="openvino")
    good, bad = found.rows
    assert good.values[0].value == 80 and good.problem is None
    assert (bad.values[0].value, bad.values[0].lost, bad.samples) == (None, None, 0)
    assert bad.problem is not None and found.problems == (f"model 2 on openvino: {bad.problem}",)


def test_tensorrt_without_a_gpu_says_so(source: onnx.ModelProto, data: dict[str, np.ndarray]) -> None:
    pytest.importorskip("tensorrt_rtx")
    found = evaluate(source, data, metric="top1", engines=("onnxruntime", "tensorrt"), batch=50)
    if tensorrt._gpu_present():
        assert values(found) == [80, pytest.approx(80, abs=2)]
    else:
        assert values(found) == [80, None]
        assert found.rows[1].problem is not None and "Run on a machine with an NVIDIA GPU" in found.rows[1].problem


def test_an_engine_that_is_not_installed(source: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxq.backends.find_spec", lambda name: None)
    with pytest.raises(
        EngineMissing, match=r"OpenVINO is not installed. Install it with: pip install 'onnxq\[openvino\]'"
    ):
        evaluate(source, IMAGES, metric="top1", engines="openvino")


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"engines": "openvin"}, RecipeError, "unknown engine 'openvin'. Did you mean 'openvino'"),
        ({"engines": "snpe"}, RecipeError, "is simulated: onnxq has no engine of it. Use --engine simulation."),
        ({"engines": ()}, RecipeError, "nothing to evaluate"),
        ({"metric": None}, RecipeError, "no metric. Give --metric"),
        ({"metric": "top1"}, DataError, "metric top1 wants labels, and the samples have none"),
        ({"data": None}, DataError, "no samples. Give --data FILE"),
    ],
)
def test_what_is_missing_is_said(
    source: onnx.ModelProto, arguments: dict[str, object], error: type[Exception], said: str
) -> None:
    given: dict[str, object] = {"data": IMAGES, "metric": "agreement"}
    with pytest.raises(error, match=said):
        evaluate(source, **{**given, **arguments})  # type: ignore[arg-type]


def test_models_of_other_inputs_are_refused(source: onnx.ModelProto) -> None:
    other = parse("g (float[N,4] z) => (float[N,4] y) { y = Relu(z) }")
    with pytest.raises(ModelError, match="model 2 has other inputs than model 1: z float32"):
        evaluate([source, other], IMAGES, metric="agreement")


CORPUS = os.environ.get("ONNXQ_CORPUS")
FOLDER = Path(CORPUS or ".")
corpus = pytest.mark.skipif(not CORPUS, reason="set ONNXQ_CORPUS to a folder of real models to measure them")


@corpus
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_classifier_has_the_accuracy_that_the_corpus_says(engine: str) -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    found = evaluate(
        FOLDER / "models/resnet20.onnx",
        FOLDER / "data/cifar10_test.npz",
        metric="top1",
        engines=engine,
        preprocessing=Preprocessing(scale=1 / 255, mean=mean, std=std),
        batch=100,
    )
    assert values(found) == [pytest.approx(81.22, abs=0.03)]


@corpus
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_detector_has_the_ap_that_the_corpus_says(engine: str) -> None:
    truth = FOLDER / "data/coco_val/instances.json"
    found = evaluate(
        FOLDER / "models/yolox_nano.onnx",
        FOLDER / "data/coco_val/images",
        metric=f"box_ap,labels={truth},decoder=yolox",
        engines=engine,
        preprocessing=Preprocessing(resize=416, fit="letterbox", color="BGR"),
    )
    assert found.rows[0].samples == 88
    assert values(found) == [pytest.approx(37.24, abs=0.3)]  # 37.38: images are resized by another library
