"""TensorRT's own account of an engine's layers, in its two forms, and what it says of each ONNX node.

TensorRT-RTX logs lines (``Name: ..., LayerType: correlation, Inputs: [ { ..., Datatype: Int8``), TensorRT's
engine inspector writes JSON. Both name the ONNX nodes a layer was made of as ``[ONNX Layer: name]``.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx

from onnxq.backends.engine import Layer
from onnxq.backends.heavy import Heavy, heavy_nodes, in_subgraph
from onnxq.errors import EngineError

_PRECISIONS = {
    "float": "fp32",
    "fp32": "fp32",
    "half": "fp16",
    "fp16": "fp16",
    "bfloat16": "bf16",
    "bf16": "bf16",
    "fp8": "fp8",
    "fp4": "fp4",
    "int8": "int8",
    "int4": "int4",
}
_FLOATS = ("fp32", "fp16", "bf16", "fp8", "fp4")
_INTEGERS = ("int8", "int4")
_DATATYPE = re.compile(rf"\b({'|'.join(_PRECISIONS)})\b", re.IGNORECASE)
_ONNX_LAYER = re.compile(r"\[ONNX Layer: (.*?)\](?=$|[\x1e\x1f\[])")  # control characters part the names
_LINE = re.compile(
    r"Name: (?P<name>.*), LayerType: (?P<kind>[^,]*), Inputs: \[(?P<inputs>.*)\], "
    r"Constants: \[(?P<constants>.*)\], Outputs: \[.*\], TacticName: .*Metadata: (?P<metadata>.*)"
)
_MATRIX_KIND = re.compile(r"correlation|conv(?!er)|gemm|matmul|matrixmultiply|fusion|attention|mha", re.IGNORECASE)
_CONVERSION_KIND = re.compile(r"reformat|quantize|cast", re.IGNORECASE)
_CONVERSION_OPS = frozenset({"Cast", "DequantizeLinear", "QuantizeLinear"})


@dataclass(frozen=True)
class EngineLayer:
    """One kernel of an engine: its kind, the precisions it reads, and the ONNX nodes it was made of."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    nodes: tuple[str, ...]

    @property
    def is_matrix(self) -> bool:
        """Whether it multiplies matrices. Kinds such as ``kgen`` (generated pointwise code) do not."""
        return _MATRIX_KIND.search(self.kind) is not None

    @property
    def precision(self) -> str:
        """``int8`` iff its input is, and the other operand: its weights, or its second input."""
        first, other = self.inputs[:1], self.constants[:1] + self.inputs[1:2]
        if first == ("int8",) and "int8" in other:
            return "int8"
        kept = [precision for precision in self.constants if precision in (*_INTEGERS, "fp8")]
        if kept and first and first[0] in _FLOATS and first[0] != kept[0]:
            return f"{kept[0]} weights"
        floats = (precision for precision in self.inputs + self.constants if precision in _FLOATS)
        return next(floats, "unknown")


def parse_lines(message: str) -> list[EngineLayer]:
    """The layers in the log message of TensorRT-RTX that begins with ``Layers:``.

    Raises EngineError where a line has another form than in TensorRT-RTX 1.7.
    """
    layers = []
    for line in message.splitlines():
        if line.startswith("Name: "):
            match = _LINE.fullmatch(line)
            if match is None:
                raise EngineError(f"TensorRT-RTX describes a layer in an unknown form: {line[:120]!r}")
            layers.append(
                EngineLayer(
                    match["name"],
                    match["kind"],
                    _datatypes(re.findall(r"Datatype: (\w+)", match["inputs"])),
                    _datatypes(re.findall(r"Datatype: (\w+)", match["constants"])),
                    tuple(_ONNX_LAYER.findall(match["metadata"])),
                )
            )
    return layers


def parse_json(text: str) -> list[EngineLayer]:
    """The layers in the inspector's JSON, of TensorRT 10 (``Format/Datatype``) or 11 (``Datatype``).

    Raises EngineError where it has only names, as without ProfilingVerbosity.DETAILED.
    """
    layers = []
    for entry in json.loads(text)["Layers"]:
        if not isinstance(entry, dict):
            raise EngineError("TensorRT's inspector names layers without details; build with DETAILED verbosity")
        tensors = [*([entry["Weights"]] if "Weights" in entry else []), *entry.get("Constants", [])]
        layers.append(
            EngineLayer(
                entry["Name"],
                entry.get("LayerType", ""),
                _datatypes(map(_described, entry.get("Inputs", []))),
                _datatypes(map(_described, tensors)),
                tuple(_ONNX_LAYER.findall(entry.get("Metadata", ""))),
            )
        )
    return layers


def _described(tensor: Mapping[str, object]) -> str:
    keys = ("Datatype", "DataType", "Format/Datatype", "Format/DataType", "Type")
    return next((str(tensor[key]) for key in keys if key in tensor), "")


def _datatypes(descriptions: Iterable[str]) -> tuple[str, ...]:
    found = (_DATATYPE.search(description) for description in descriptions)
    return tuple(_PRECISIONS[match[1].lower()] if match else "unknown" for match in found)


def read_layers(model: onnx.ModelProto, engine: Sequence[EngineLayer]) -> tuple[Layer, ...]:
    """What each heavy node of ``model`` became among the layers of the engine."""
    made_of: dict[str, list[EngineLayer]] = {}
    for layer in engine:
        for node in layer.nodes:
            made_of.setdefault(node, []).append(layer)
    return tuple(_layer(heavy, made_of.get(heavy.name, [])) for heavy in heavy_nodes(model))


def _layer(heavy: Heavy, candidates: Sequence[EngineLayer]) -> Layer:
    if heavy.inside:
        return in_subgraph(heavy)
    if not candidates:
        return Layer(heavy.name, heavy.op_type, "unknown", "no layer of the engine names it")
    # Its own kernel first: that of a neighbour may name the node as well, for a bias or a scale it took over.
    chosen = min(candidates, key=lambda layer: (not layer.is_matrix, heavy.name not in layer.name))
    if not chosen.is_matrix and "int8" in chosen.inputs + chosen.constants:
        return Layer(heavy.name, heavy.op_type, "unknown", f"only in fused {chosen.kind} kernels")
    return Layer(heavy.name, heavy.op_type, chosen.precision, chosen.kind)


def count_conversions(model: onnx.ModelProto, engine: Sequence[EngineLayer]) -> int:
    """Kernels that only cast, quantize, dequantize or reformat, the last of which often name no ONNX node."""
    op_types = {node.name: node.op_type for node in model.graph.node}
    heavy = {node.name for node in heavy_nodes(model)}
    return sum(
        _converts(layer, {op_types.get(name, "") for name in layer.nodes if name not in heavy}) for layer in engine
    )


def _converts(layer: EngineLayer, op_types: set[str]) -> bool:
    if layer.is_matrix:
        return False
    if not layer.nodes:
        return layer.kind == "kgen" or _CONVERSION_KIND.search(layer.kind) is not None
    return _CONVERSION_KIND.search(layer.kind) is not None or (bool(op_types) and op_types <= _CONVERSION_OPS)
