"""The door to onnxruntime on the CPU: build a session, run it, and read back its optimized graph."""

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxq.backends.backend import Backend, LowBits, Reads, Rule, Shapes
from onnxq.backends.engine import Engine, Layer, Reading
from onnxq.backends.heavy import Heavy, Names, heavy_nodes, in_subgraph, is_heavy, serialize
from onnxq.backends.saturation import saturates
from onnxq.backends.tables import STORED_INSIDE
from onnxq.errors import EngineError
from onnxq.execute import refusals
from onnxq.graph import RECURRENT_OPS
from onnxq.inputs import Array
from onnxq.lint.tables import ONNXRUNTIME
from onnxq.outside import loadable, outsiders
from onnxq.passes.convolve_norms import ConvolveNorms
from onnxq.passes.fuse_silu import FuseSilu
from onnxq.passes.gather_integers import GatherIntegers
from onnxq.passes.quantize_bias import QuantizeBias
from onnxq.passes.split_hard_swish import SplitHardSwish
from onnxq.passes.turn_gemm import TurnGemm
from onnxq.passes.unfold_dequantize import UnfoldDequantize
from onnxq.passes.widen_factors import WidenFactors
from onnxq.scheme import ActivationSchemes, Scheme

_INTEGER_KERNELS = frozenset(
    {
        "ConvInteger",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "QGemm",
        "QLinearConv",
        "QLinearMatMul",
    }
)
_FLOAT_KERNELS = frozenset(
    {"Conv", "ConvTranspose", "FusedConv", "FusedGemm", "FusedMatMul", "Gemm", "MatMul", "NhwcFusedConv"}
)
_WEIGHT_ONLY_KERNELS = frozenset({"MatMulNBits"})
_KERNELS = _INTEGER_KERNELS | _FLOAT_KERNELS | _WEIGHT_ONLY_KERNELS
_CONVERSIONS = frozenset({"Cast", "DequantizeLinear", "QuantizeLinear", "ReorderInput", "ReorderOutput"})
_FLOAT_TYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT16: "fp16",
    onnx.TensorProto.BFLOAT16: "bf16",
    onnx.TensorProto.DOUBLE: "fp64",
}
_SUFFIX = re.compile(r"(_token_\d+|_nchwc|/\w*Fusion/?)$")


def build(model: onnx.ModelProto, *, threads: int | None = None) -> Engine:
    """A session on the CPU with every optimization; ``threads`` of None takes one per physical core.

    Raises EngineError where onnxruntime refuses the model, or the model exceeds 2 GiB.
    """
    return _Session(model, threads, _session(model, threads))


@dataclass(frozen=True)
class _Session:
    model: onnx.ModelProto
    threads: int | None
    session: Any

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        names = [output.name for output in self.model.graph.output]
        with _refusals():
            return dict(zip(names, map(np.asarray, self.session.run(names, dict(feeds))), strict=True))

    def read_back(self) -> Reading:
        import onnxruntime as ort

        optimized = self._optimized()
        return Reading(
            engine=f"onnxruntime {ort.__version__}, CPU",
            layers=read_layers(self.model, optimized),
            conversions=sum(node.op_type in _CONVERSIONS for node in optimized.graph.node),
        )

    def _optimized(self) -> onnx.ModelProto:
        """The graph that runs. Written by a second session, so that building one costs no file."""
        with tempfile.TemporaryDirectory(prefix="onnxq-") as folder:
            path = Path(folder) / "optimized.onnx"
            _session(self.model, self.threads, optimized=path)
            return onnx.load(path, load_external_data=False)  # of weights the type is enough


def _session(model: onnx.ModelProto, threads: int | None, optimized: Path | None = None) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4  # whatever matters is raised
    # Threads that spin after a run would slow down the other engine of a comparison.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    content, entries = loadable(model) if outsiders(model) else (serialize(model, "onnxruntime"), {})
    for name, value in entries.items():
        options.add_session_config_entry(name, value)
    with _refusals():
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@contextmanager
def _refusals() -> Iterator[None]:
    """onnxruntime's errors as EngineError."""
    try:
        yield
    except refusals() as error:
        raise EngineError(f"onnxruntime: {error}") from error


def read_layers(model: onnx.ModelProto, optimized: onnx.ModelProto) -> tuple[Layer, ...]:
    """What each heavy node of ``model`` became in the graph that onnxruntime made of it."""
    kernels = _kernels(model, optimized)
    types = {tensor.name: tensor.data_type for tensor in optimized.graph.initializer}
    return tuple(_layer(heavy, kernels.get(heavy.name), types) for heavy in heavy_nodes(model))


def _kernels(model: onnx.ModelProto, optimized: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The matrix kernel of each heavy node, by the node's name.

    Most kernels bear the name of their node. Blocked float ones bear that of the last node fused into them,
    which is less certain, so it never replaces the former.
    """
    names = Names.of(model)
    exact: dict[str, onnx.NodeProto] = {}
    fused: dict[str, onnx.NodeProto] = {}
    for kernel in optimized.graph.node:
        if kernel.op_type in _KERNELS:
            node = names.find(kernel.name, _SUFFIX) or names.find(kernel.output[0], _SUFFIX)
            if node is not None:
                (exact if is_heavy(node) else fused)[names.heavy_source(node)] = kernel
    return fused | exact


def _layer(heavy: Heavy, kernel: onnx.NodeProto | None, types: Mapping[str, int]) -> Layer:
    if heavy.inside:
        return in_subgraph(heavy)
    if kernel is None:
        return Layer(heavy.name, heavy.op_type, "unknown", "folded, or fused under another name")
    return Layer(heavy.name, heavy.op_type, _precision(kernel, types), kernel.op_type)


def _precision(kernel: onnx.NodeProto, types: Mapping[str, int]) -> str:
    if kernel.op_type in _INTEGER_KERNELS:
        return "int8"
    if kernel.op_type in _WEIGHT_ONLY_KERNELS:
        bits = next((attribute.i for attribute in kernel.attribute if attribute.name == "bits"), 4)
        return f"int{bits} weights"
    weights = (_FLOAT_TYPES.get(types.get(name, onnx.TensorProto.FLOAT)) for name in kernel.input)
    return next((precision for precision in weights if precision), "fp32")


_U8 = Scheme(signed=False, symmetric=False)
_U16 = Scheme(signed=False, symmetric=False, bits=16)
_BETWEEN = Rule(Reads.ENCLOSED, writes=True)
_MOVES = Rule(Reads.ENCLOSED, writes=True, same_grid=True)


def _build(model: onnx.ModelProto, shapes: Shapes) -> Engine:
    return build(model)


BACKEND = Backend(
    name="onnxruntime",
    title="onnxruntime",
    modules=("onnxruntime",),
    extra="",
    rules={
        "Conv": Rule(Reads.ALWAYS, writes=True),
        "Gemm": Rule(Reads.ALWAYS),
        "MatMul": Rule(Reads.ALWAYS),
        **dict.fromkeys(("Add", "Mul", "HardSigmoid", "Concat", "AveragePool", "GlobalAveragePool"), _BETWEEN),
        **dict.fromkeys(
            (
                "MaxPool",
                "Reshape",
                "Transpose",
                "Flatten",
                "Squeeze",
                "Unsqueeze",
                "Slice",
                "Split",
                "Resize",
            ),
            _MOVES,
        ),
    },
    activation=ActivationSchemes(_U8, _U8, _U8),
    wide=ActivationSchemes.always(_U16),
    wide_note="onnxruntime computes the layers that read them in float",
    weight=Scheme(signed=True, symmetric=True),
    absorbs=frozenset({"Relu", "Clip"}),
    refuses={"ConvTranspose": "ConvTranspose: onnxruntime has no integer kernel for it"},
    splits_bias=True,
    fp32_reason="onnxruntime has next to no kernels for 16-bit floats on the CPU",
    left_constants=False,
    stores={**dict.fromkeys(RECURRENT_OPS, (1, 2)), "Gather": (0,)},
    stores_inside=STORED_INSIDE,
    saturates=saturates,
    low_bits=LowBits(
        frozenset({"INT4", "UINT4", "INT2", "UINT2"}),
        casts=True,
        shifts=True,
        grid=Scheme(signed=False, symmetric=False),
        blocks=dict.fromkeys((2, 4, 8), (16, 32, 64, 128, 256)),
        ragged=True,
    ),
    preparation=(SplitHardSwish(), ConvolveNorms()),
    lowering=(QuantizeBias(), FuseSilu(), WidenFactors(), GatherIntegers(), UnfoldDequantize(), TurnGemm()),
    build=_build,
    lints=ONNXRUNTIME,
)
