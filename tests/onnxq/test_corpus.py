"""Real models on real data: how much runs in integers there, and what it costs.

Runs where ONNXQ_CORPUS names a folder of models, data, and the ``evaluate.py`` that measures them without onnxq.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from corpus import judge
from onnxq import OnnxqError, Options, quantize
from onnxq.backends import BACKENDS, backend_of, openvino
from onnxq.execute import Session
from onnxq.model import load_model, to_graph
from onnxq.passes import DropIdle, FoldBatchNorm, FoldConstants, FoldGemmFactors, FoldScale, FusePad, MergeSlices
from onnxq.result import BackendResult, Result
from onnxq.samples import input_specs, open_samples
from onnxq.workspace import Workspace

CORPUS = os.environ.get("ONNXQ_CORPUS")
FOLDER = Path(CORPUS or ".")
pytestmark = pytest.mark.skipif(not CORPUS, reason="set ONNXQ_CORPUS to a folder of real models to measure them")

Answers = tuple[float, NDArray[np.float32]]
IMAGES = 5000  # a loss of 0.3 points are 15 images of these
REFUSED = {
    "espcn_subpixel_qonnx": "already quantized",
    "shufflenet-v2-12-int8": "already quantized",
    "superres_prepost_op18": "com.microsoft.extensions",
}
IN_BODIES = {"silero_vad"}  # all of it in an If, which neither OpenVINO nor TensorRT takes in float


def measure(path: Path, task: str, engine: str = "onnxruntime", n: int | None = None) -> Answers:
    """The metric in percent, and all outputs."""
    found, outputs = judge().measure(str(path), task, engine, n, judge().DATA)
    return float(found["ap" if task == "coco" else "top1"]), outputs


def model(name: str) -> Path:
    return FOLDER / "models" / f"{name}.onnx"


@cache
def fp32(name: str, task: str, n: int | None) -> Answers:
    return measure(model(name), task, n=n)


@cache
def quantized(name: str, task: str, samples: int, backends: tuple[str, ...] = BACKENDS) -> Result:
    """The model for these backends; the engines are built and read back, and judged elsewhere."""
    source = onnx.load(model(name))
    held = {tensor.name for tensor in source.graph.initializer}
    (entry,) = (value for value in source.graph.input if value.name not in held)
    feeds = {entry.name: judge().calibration(task, samples)}
    return quantize(model(name), feeds, backend=backends, test={k: v[:4] for k, v in feeds.items()})


def saved(result: Result, backend: str, folder: Path) -> Path:
    path = folder / f"{backend}.onnx"
    onnx.save(result[backend].model, path)
    return path


def sqnr_db(reference: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    signal, noise = reference.astype(np.float64), (reference - other).astype(np.float64)
    return float(10 * np.log10((signal**2).sum() / (noise**2).sum()))


def in_float(entry: BackendResult, *ops: str) -> list[str]:
    """Layers of these operators that the engine does not compute in INT8."""
    assert entry.built is not None, entry.problem
    layers = entry.built.reading.layers
    return [layer.node for layer in layers if layer.op_type in ops and layer.precision != "int8"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_resnet20_is_integer_throughout(backend: str) -> None:
    entry = quantized("resnet20", "cifar10", 512)[backend]
    assert in_float(entry, "Conv", "Gemm") == []
    assert entry.built is not None
    assert entry.built.int8_nodes >= 20


@pytest.mark.parametrize(
    ("backend", "engine"), [("onnxruntime", "onnxruntime"), ("openvino", "onnxruntime"), ("openvino", "openvino")]
)
def test_resnet20_keeps_its_accuracy(backend: str, engine: str, tmp_path: Path) -> None:
    graph = saved(quantized("resnet20", "cifar10", 512), backend, tmp_path)
    wanted, reference = fp32("resnet20", "cifar10", IMAGES)
    found, outputs = measure(graph, "cifar10", engine, IMAGES)
    assert found >= wanted - 0.3
    assert sqnr_db(reference, outputs) >= 27


def test_resnet20_keeps_its_accuracy_on_the_grids_of_tensorrt(tmp_path: Path) -> None:
    graph = saved(quantized("resnet20", "cifar10", 512), "tensorrt", tmp_path)
    assert measure(graph, "cifar10", n=IMAGES)[0] >= fp32("resnet20", "cifar10", IMAGES)[0] - 0.3


@pytest.mark.parametrize("backend", BACKENDS)
def test_yolox_nano_is_built(backend: str) -> None:
    pytest.importorskip("cv2", reason="evaluate.py reads images with opencv-python-headless")
    entry = quantized("yolox_nano", "coco", 64)[backend]
    assert entry.problem is None
    assert entry.built is not None
    layers = [layer for layer in entry.built.reading.layers if layer.op_type == "Conv"]
    assert len(layers) == 113
    if backend == "openvino":
        assert in_float(entry, "Conv") == []


# The figure to reach is 24; on onnxruntime, which also rounds before each SiLU, runs differ by a point on 88 images.
@pytest.mark.parametrize(
    ("backend", "engine", "least"),
    [("onnxruntime", "onnxruntime", 23), ("openvino", "openvino", 24), ("tensorrt", "onnxruntime", 34)],
)
def test_yolox_nano_still_detects(backend: str, engine: str, least: float, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="evaluate.py reads images with opencv-python-headless")
    pytest.importorskip("pycocotools")
    graph = saved(quantized("yolox_nano", "coco", 64), backend, tmp_path)
    assert measure(graph, "coco", engine)[0] >= least


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("name", "task", "samples", "n"),
    [
        ("mobilenetv2_cifar10", "cifar10", 256, 2000),
        ("vit_cifar10", "cifar10", 256, 2000),
        ("kws_dscnn", "kws", 200, 400),
    ],
)
def test_small_networks_lose_little(name: str, task: str, samples: int, n: int, backend: str, tmp_path: Path) -> None:
    graph = saved(quantized(name, task, samples, ("onnxruntime", "openvino")), backend, tmp_path)
    assert measure(graph, task, backend, n)[0] > fp32(name, task, n)[0] - 1.5


def random_feeds(path: Path) -> dict[str, NDArray[np.generic]]:
    """Four samples of random numbers, in shapes that the model takes."""
    graph = onnx.load(path).graph
    held = {tensor.name for tensor in graph.initializer}
    rng = np.random.default_rng(0)
    feeds = {}
    for entry in graph.input:
        if entry.name in held:
            continue
        dims = [dim.dim_value if dim.dim_value > 0 else None for dim in entry.type.tensor_type.shape.dim]
        shape = [4, *(dim or 160 for dim in dims[1:])]
        if path.stem == "silero_vad":
            shape = {"input": [4, 1, 512], "state": [4, 2, 1, 128], "sr": [4]}[entry.name]
        elif path.stem.startswith("silero"):
            shape = [4, *(dim or 1 for dim in dims)]  # whole feeds: its state has no batch axis
        dtype = onnx.helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)
        numbers = (
            rng.standard_normal(shape) if dtype == np.float32 else np.full(shape, 7 if dtype == np.uint8 else 16000)
        )
        feeds[entry.name] = numbers.astype(dtype)
    return feeds


ROBUST = sorted((FOLDER / "robust").glob("*.onnx")) if CORPUS else []


@pytest.mark.parametrize("path", ROBUST, ids=lambda path: path.stem)
def test_any_model_is_quantized_or_refused_in_a_sentence(path: Path) -> None:
    if path.stem in IN_BODIES:
        pytest.skip("has a test of its own")
    if path.stem in REFUSED:
        with pytest.raises(OnnxqError, match=REFUSED[path.stem]) as refusal:
            quantize(path, random_feeds(path), options=Options(samples=2))
        assert "\n" not in str(refusal.value)
        return
    entry = quantize(path, random_feeds(path))["onnxruntime"]
    assert entry.problem is None
    assert entry.built is not None
    assert in_float(entry, "Conv", "Gemm", "MatMul") == []
    assert entry.built.int8_nodes > 0
    assert entry.judged is not None
    assert [like.output for like in entry.judged.engine] == [like.output for like in entry.judged.graph] != []
    # On noise some outputs are next to nothing; the best one tells whether the graph is the same.
    assert not any(np.isnan(like.max_error) for like in (*entry.judged.graph, *entry.judged.engine))
    assert max(like.sqnr_db for like in entry.judged.engine) > 20


# What is left of each, so that nothing comes back unseen; the others have nothing that is exact to fold.
LEFT = {
    "resnet20": 54, "vit_cifar10": 139, "mobilenetv2_cifar10": 99, "kws_dscnn": 22, "yolox_nano": 365,
    "ch_mobile_v1.1_det": 173, "mnist_cntk": 9, "scrfd_500m_bnkps": 146, "silero_vad_openvino_16k": 36,
    "version-RFB-320": 130, "yunet_n_dynamic": 115,
}  # fmt: skip
EXACT = (FoldConstants(), DropIdle(), MergeSlices(), FusePad(), FoldBatchNorm(), FoldScale(), FoldGemmFactors())


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(FOLDER.glob("*/*.onnx")) if path.stem not in REFUSED] if CORPUS else [],
    ids=lambda path: path.stem,
)
def test_exact_folds_keep_the_function(path: Path) -> None:
    source, feeds = load_model(path), random_feeds(path)
    data = open_samples(feeds, input_specs(source))
    space = Workspace(to_graph(source), source, data, backend_of("onnxruntime"))
    for step in EXACT:
        step(space)
    assert not any(step(space) for step in EXACT)
    assert len(space.graph.nodes) <= LEFT.get(path.stem, len(source.graph.node))
    sample = next(iter(data.batches(1))).feeds
    wanted: dict[str, Any] = Session(source).run(sample)
    made: dict[str, Any] = Session(space.model()).run(sample)
    for name, array in wanted.items():
        assert np.array_equal(array, made[name]) or sqnr_db(array, made[name]) > 90


@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_model_inside_an_if_is_half_as_large_and_no_slower(rate: int) -> None:
    path = FOLDER / "robust" / "silero_vad.onnx"
    feeds = {**random_feeds(path), "sr": np.full(4, rate)}
    feeds["input"] = 0.1 * feeds["input"][..., : rate * 512 // 16000]
    entry = quantize(path, feeds)["onnxruntime"]
    assert entry.built is not None and entry.built.speedup is not None and entry.judged is not None
    assert entry.built.int8_nodes == entry.built.int8_macs == 0
    assert any("weights only" in said.reason for said in entry.ledger.of("warning"))
    assert entry.size_after < 0.6 * entry.size_before
    assert entry.built.speedup > 0.85  # 1.00 measured; a run takes 0.1 ms
    assert min(like.sqnr_db for like in entry.judged.engine) > 25


@pytest.mark.parametrize(
    ("name", "task", "least"),
    [
        ("resnet20", "cifar10", 1.0),
        ("mobilenetv2_cifar10", "cifar10", 1.0),
        ("kws_dscnn", "kws", 1.0),
        ("yolox_nano", "coco", 1.0),
        ("vit_cifar10", "cifar10", 0.9),  # attention itself stays float
    ],
)
@pytest.mark.parametrize("float_type", ["fp32", "fp16", "bf16"])
def test_the_work_is_integer_on_tensorrt_and_the_rest_is_of_the_type_asked_for(
    name: str, task: str, least: float, float_type: str
) -> None:
    samples = judge().calibration(task, 8)
    source = onnx.load(model(name))
    held = {tensor.name for tensor in source.graph.initializer}
    (entry,) = (value for value in source.graph.input if value.name not in held)
    built = quantize(
        model(name), {entry.name: samples}, backend="tensorrt", options=Options(float_type=float_type)
    )["tensorrt"].built  # fmt: skip
    assert built is not None
    assert built.int8_macs is not None and built.int8_macs >= least
    assert {layer.precision for layer in built.reading.layers} <= {"int8", float_type}
    if name == "yolox_nano":
        assert (built.int8_nodes, built.nodes) == (113, 113)


@pytest.mark.parametrize("float_type", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize(
    "path", sorted((FOLDER / "robust").glob("*.onnx")) if CORPUS else [], ids=lambda path: path.stem
)
def test_any_model_is_an_engine_of_tensorrt_when_its_float_form_is(path: Path, float_type: str) -> None:
    if path.stem in (*REFUSED, *IN_BODIES):
        pytest.skip("not a float model, or not one that the engine takes")
    feeds = random_feeds(path)
    entry = quantize(path, feeds, backend="tensorrt", options=Options(samples=2, float_type=float_type))["tensorrt"]
    assert entry.problem is None  # all of them parse in float
    assert in_float(entry, "MatMul", "Gemm") == []
    assert entry.built is not None and entry.built.int8_macs is not None
    # TensorRT-RTX has no integer ConvTranspose; two convolutions of the other model have one row and few weights.
    least = {"ch_mobile_v1.1_det": 0.96, "silero_vad_openvino_16k": 0.93}
    assert entry.built.int8_macs >= least.get(path.stem, 0.99)


@pytest.mark.parametrize(
    "path", [path for path in ROBUST if path.stem not in (*REFUSED, *IN_BODIES)], ids=lambda path: path.stem
)
def test_any_model_runs_in_openvino(path: Path) -> None:
    feeds, source = random_feeds(path), load_model(path)
    entry = quantize(path, feeds, backend="openvino", options=Options(build=False))["openvino"]
    sample = next(iter(open_samples(feeds, input_specs(source)).batches(1))).feeds
    engine = openvino.build(entry.model, shapes={name: array.shape for name, array in sample.items()})
    assert all(layer.precision == "int8" for layer in engine.read_back().layers if layer.op_type == "Conv")
    wanted: dict[str, Any] = Session(source).run(sample)
    made: dict[str, Any] = engine.run(sample)
    # On noise some outputs are next to nothing; the best one tells whether the graph is the same.
    assert any(
        sqnr_db(wanted[name], made[name]) > 20 if np.ptp(wanted[name]) else np.allclose(wanted[name], made[name])
        for name in wanted
    )
