"""How much of a model runs in INT8: the share of multiply-accumulates of Conv, Gemm and MatMul in layers that the
engine was read back to compute in integers. ConvTranspose is counted apart.

    python tests/bench/int8_share.py [MODEL ...]
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import onnx

from command import BACKENDS
from onnxq import Options, quantize
from onnxq.backends import onnxruntime as ort
from onnxq.backends import openvino, tensorrt
from onnxq.backends.engine import Engine, Layer
from onnxq.cost import macs
from onnxq.errors import EngineError
from onnxq.result import BackendResult
from shapes import SHAPES
from subjects import Subject, subjects
from table import table

MODELS = ("resnet20", "mobilenetv2_cifar10", "kws_dscnn", "yolox_nano", "vit_cifar10", "version-RFB-320", *SHAPES)
WANTED = {"vit_cifar10": 90.0}
WANTED_ELSE = 99.0
COLUMNS = ("model", "engine", "MACs %", "wanted %", "layers", "conversions", "verdict")

Shapes = Mapping[str, Sequence[int]]
DOORS: dict[str, tuple[str, Callable[[onnx.ModelProto, Shapes], Engine]]] = {
    "onnxruntime": ("onnxruntime", lambda model, shapes: ort.build(model)),
    "openvino f32": ("openvino", lambda model, shapes: openvino.build(model, shapes=shapes)),
    "openvino default": (
        "openvino",
        lambda model, shapes: openvino.build(model, shapes=shapes, precision_hint="default"),
    ),
    "tensorrt-rtx": ("tensorrt", lambda model, shapes: tensorrt.BACKEND.engine(model, shapes)),
}


def shares(models: Iterable[Subject]) -> Iterator[list[object]]:
    for subject in models:
        found = quantize(subject.model, subject.samples, backend=BACKENDS, options=Options(build=False))
        for engine, (backend, build) in DOORS.items():
            yield [subject.name, engine, *_cells(subject, found[backend], build)]


def _cells(
    subject: Subject, result: BackendResult, build: Callable[[onnx.ModelProto, Shapes], Engine]
) -> tuple[object, ...]:
    shapes = {name: array.shape for name, array in subject.feeds(1).items()}
    wanted = WANTED.get(subject.name, WANTED_ELSE)
    try:
        reading = build(result.model, shapes).read_back()
    except EngineError as error:
        return "none", wanted, "", "", f"MISSED: {error}"
    layers = [layer for layer in reading.layers if layer.op_type != "ConvTranspose"]
    work = macs(result.model, shapes)
    percent = 100 * _weight(filter(_is_int8, layers), work) / _weight(layers, work)
    remarks = ["ok" if percent >= wanted else "MISSED", *_floats(layers, work, result), *_apart(reading.layers)]
    return percent, wanted, f"{sum(map(_is_int8, layers))}/{len(layers)}", reading.conversions, "; ".join(remarks)


def _is_int8(layer: Layer) -> bool:
    return layer.precision == "int8"


def _weight(layers: Iterable[Layer], work: Mapping[str, int]) -> int:
    return sum(work.get(layer.node, 0) for layer in layers)


def _floats(layers: Sequence[Layer], work: Mapping[str, int], result: BackendResult) -> Iterator[str]:
    """What is not INT8, most work first: its share, its precision, and the reason that the plan or the engine gives."""
    reasons = Counter[str]()
    for layer in layers:
        if not _is_int8(layer):
            reason = result.plan.floats.get(layer.node, layer.detail)
            reasons[f"{layer.op_type} {layer.precision}: {reason}"] += work.get(layer.node, 0)
    yield from (f"{100 * size / _weight(layers, work):.1f} % {reason}" for reason, size in reasons.most_common(4))
    if unknown := [layer.node for layer in layers if layer.node not in work]:
        yield f"{len(unknown)} of unknown size, such as {unknown[0]}"


def _apart(layers: Sequence[Layer]) -> Iterator[str]:
    transposed = [layer for layer in layers if layer.op_type == "ConvTranspose"]
    if transposed:
        yield f"ConvTranspose: {sum(map(_is_int8, transposed))}/{len(transposed)}"


if __name__ == "__main__":
    title = "MACs of Conv, Gemm and MatMul in INT8, read back from the engine"
    table(title, COLUMNS, shares(subjects(sys.argv[1:] or MODELS)))
