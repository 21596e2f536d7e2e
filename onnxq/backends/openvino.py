"""The door to OpenVINO on the CPU: compile a model, run it, and read back its runtime graph."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from onnxq.backends.backend import Backend, LowBits, Reads, Rule, Shapes
from onnxq.backends.engine import Engine, Layer, Reading
from onnxq.backends.heavy import Heavy, Names, heavy_nodes, in_subgraph, is_heavy, serialize
from onnxq.backends.saturation import saturates
from onnxq.backends.tables import STORED_INSIDE
from onnxq.errors import EngineError, EngineMissing
from onnxq.graph import HEAVY_OPS, RECURRENT_OPS
from onnxq.inputs import Array
from onnxq.lint.tables import OPENVINO
from onnxq.passes.gather_integers import GatherIntegers
from onnxq.passes.keep_axes import KeepAxes
from onnxq.passes.unfold_dequantize import UnfoldDequantize
from onnxq.scheme import ActivationSchemes, Scheme

_MATRIX_LAYERS = frozenset({"Convolution", "Deconvolution", "FullyConnected", "MatMul"})
MAXIMA = frozenset({"GlobalMaxPool", "ReduceMax", "ReduceMin"})
_CONVERSIONS = frozenset({"Convert", "FakeQuantize", "Quantize", "Reorder"})
_INTEGERS = {"i8": "int8", "u8": "int8", "i4": "int4", "u4": "int4"}
_FLOATS = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}
_SUFFIX = re.compile(r"(/[^/]+|_original)$")  # what makes a graph output is called ..._original
_CHECK = re.compile(r"\bCheck '.*' failed at .*")
_NOISE = re.compile(r"Exception from |FrontEnd API failed|Model wasn't fully converted|Summary:")


@dataclass(frozen=True)
class Executed:
    """One operation of the runtime graph.

    ``primitive`` is such as ``brgconv_avx512_I8``, ``weights`` the type its second input is stored in, and
    ``names`` the operations of the model it was made of.
    """

    layer_type: str
    primitive: str
    weights: str
    names: tuple[str, ...]

    @property
    def precision(self) -> str:
        """By the primitive: ``runtimePrecision`` claims integers for convolutions that run in float."""
        kind = self.primitive.rpartition("_")[2].lower()
        if self.layer_type == "FullyConnected" and kind not in _INTEGERS and self.weights in _INTEGERS:
            return f"{_INTEGERS[self.weights]} weights"
        return _INTEGERS.get(kind) or _FLOATS.get(kind) or "unknown"


def build(
    model: onnx.ModelProto,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    precision_hint: str = "f32",
    threads: int | None = None,
) -> Engine:
    """The model compiled for the CPU.

    ``shapes`` fixes inputs that are dynamic in the model. ``precision_hint`` is OpenVINO's
    INFERENCE_PRECISION_HINT for what stays float (``f32``, ``bf16``, ``f16``); ``default`` leaves it out,
    which on CPUs with AMX means bf16.
    Raises EngineMissing without OpenVINO, EngineError where it refuses the model.
    """
    try:
        import openvino
    except ImportError as error:
        raise EngineMissing("OpenVINO", "openvino") from error
    data = serialize(model, "OpenVINO")
    options: dict[str, object] = {}
    if precision_hint != "default":
        options["INFERENCE_PRECISION_HINT"] = precision_hint
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    core = openvino.Core()
    with _refusals():
        network = core.read_model(data)
        if shapes:
            network.reshape({name: list(shape) for name, shape in shapes.items()})
        compiled = core.compile_model(network, "CPU", options)
    release = openvino.__version__.partition("-")[0]
    return _Compiled(model, compiled, f"OpenVINO {release}, CPU, precision hint {precision_hint}")


@dataclass(frozen=True)
class _Compiled:
    model: onnx.ModelProto
    compiled: Any
    engine: str

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        for port in self.compiled.inputs:
            if port.get_names().isdisjoint(feeds):  # OpenVINO would compute with what is in memory
                raise EngineError(f"OpenVINO: input {port.get_any_name()!r} is missing from the feeds")
        with _refusals():
            outputs = self.compiled(dict(feeds))
            return {output.name: np.array(outputs[output.name]) for output in self.model.graph.output}

    def read_back(self) -> Reading:
        operations = _executed(self.compiled)
        return Reading(
            engine=self.engine,
            layers=read_layers(self.model, operations),
            conversions=sum(operation.layer_type in _CONVERSIONS for operation in operations),
        )


@contextmanager
def _refusals() -> Iterator[None]:
    """OpenVINO's errors as EngineError, without the places in its sources."""
    try:
        yield
    except (RuntimeError, ValueError, KeyError) as error:
        lines = [_CHECK.sub("", line).strip(" -") for line in str(error).splitlines()]
        useful = [line for line in lines if line and not _NOISE.match(line)]
        raise EngineError(f"OpenVINO: {' '.join((useful or lines)[:3])}") from error


def _executed(compiled: Any) -> list[Executed]:
    """The operations of the runtime graph, in the order they run."""
    return [
        Executed(
            layer_type=_fact(operation, "layerType"),
            primitive=_fact(operation, "primitiveType"),
            weights=_fact(operation.input_value(1).get_node(), "outputPrecisions")
            if operation.get_input_size() > 1
            else "",
            names=tuple(filter(None, _fact(operation, "originalLayersNames").split(","))),
        )
        for operation in compiled.get_runtime_model().get_ordered_ops()
    ]


def _fact(operation: Any, key: str) -> str:
    return str(operation.rt_info[key].astype(str)) if key in operation.rt_info else ""


def read_layers(model: onnx.ModelProto, operations: Sequence[Executed]) -> tuple[Layer, ...]:
    """What each heavy node of ``model`` became among the operations of the runtime graph."""
    names = Names.of(model)
    found: dict[str, Executed] = {}
    # The least telling first, so that a matrix kernel replaces the Transpose of the same node's weights.
    for operation in sorted(operations, key=_rank):
        for source in _sources(operation, names):
            found[source] = operation
    return tuple(_layer(heavy, found.get(heavy.name)) for heavy in heavy_nodes(model))


def _rank(operation: Executed) -> int:
    return (operation.layer_type in _MATRIX_LAYERS) * 2 + (operation.layer_type == "Subgraph")


def _sources(operation: Executed, names: Names) -> set[str]:
    """The heavy nodes an operation was made of.

    One that computes a graph output is named after the output alone, so the walk back from there decides.
    """
    nodes = [node for name in operation.names if (node := names.find(name, _SUFFIX)) is not None]
    own = {node.name for node in nodes if is_heavy(node)}
    if own or not _rank(operation):
        return own
    return {names.heavy_source(node) for node in nodes}


def _layer(heavy: Heavy, operation: Executed | None) -> Layer:
    if heavy.inside:
        return in_subgraph(heavy)
    if operation is None:
        return Layer(heavy.name, heavy.op_type, "unknown", "folded, or fused under another name")
    if operation.layer_type == "Subgraph":
        return Layer(heavy.name, heavy.op_type, "unknown", "in subgraph")
    if operation.layer_type not in _MATRIX_LAYERS:
        return Layer(heavy.name, heavy.op_type, "unknown", f"fused; only its {operation.layer_type} is named")
    return Layer(heavy.name, heavy.op_type, operation.precision, operation.primitive)


def _build(model: onnx.ModelProto, shapes: Shapes) -> Engine:
    return build(model, shapes=shapes)


_U8 = Scheme(signed=False, symmetric=True)  # of what is not negative: a zero point of 0
_I8 = Scheme(signed=True, symmetric=True)
_U8_SHIFTED = Scheme(signed=False, symmetric=False)
_U16 = Scheme(signed=False, symmetric=False, bits=16)

BACKEND = Backend(
    name="openvino",
    title="OpenVINO",
    modules=("openvino",),
    fp32_reason="OpenVINO itself chooses how to compute what stays float, by its INFERENCE_PRECISION_HINT",
    extra="openvino",
    rules={
        **dict.fromkeys(HEAVY_OPS, Rule(Reads.ALWAYS, gives=True)),
        **dict.fromkeys(("Add", "AveragePool", "GlobalAveragePool"), Rule(Reads.ENCLOSED, writes=True)),
        **dict.fromkeys(
            ("MaxPool", "Flatten", "Reshape", "Squeeze"), Rule(Reads.ENCLOSED, writes=True, same_grid=True)
        ),
    },
    activation=ActivationSchemes(non_negative=_U8, signed=_I8, lopsided=_U8_SHIFTED),
    wide=ActivationSchemes.always(_U16),
    wide_note="OpenVINO drops their rounding and computes the layers that read them in float",
    concat=ActivationSchemes(non_negative=_U8, signed=_U8_SHIFTED, lopsided=_U8_SHIFTED),
    quantized_before=MAXIMA,
    weight=_I8,
    stores={**dict.fromkeys(RECURRENT_OPS, (1, 2)), "Gather": (0,)},
    stores_inside=STORED_INSIDE,
    lowering=(KeepAxes(), GatherIntegers(), UnfoldDequantize()),
    absorbs=frozenset({"Relu", "Clip"}),
    saturates=saturates,
    low_bits=LowBits(
        frozenset({"INT4", "UINT4"}),
        casts=True,
        shifts=True,
        grid=Scheme(signed=False, symmetric=False),
        blocks=dict.fromkeys((4, 8), (16, 32, 64, 128, 256)),
    ),
    build=_build,
    lints=OPENVINO,
)
