"""Compute what depends on no input, in one session of onnxruntime, as long as it stays within stated bounds.

A model may ask to expand a constant without end: the size of every result is inferred before it is computed.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.errors import ModelError
from onnxq.execute import Session
from onnxq.graph import STANDARD, held, is_constant, is_output
from onnxq.lean import Lean
from onnxq.piece import piece
from onnxq.shape_values import ShapeValues

ALL = 512 * 2**20  # bytes of results in one go, or twice what they are made from
RANDOM = frozenset(
    {"Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
KEPT = RANDOM | {"Constant", "DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"}
SMALLER = frozenset({"Compress", "NonZero", "Unique"})
"""What they find depends on numbers, and is hardly larger than what they read."""


def lower_constants(graph: gs.Graph) -> None:
    """What Constant nodes make becomes constants."""
    for node in graph.nodes:
        if node.op == "Constant" and node.domain in STANDARD and (array := held(node.outputs[0])) is not None:
            settle(node.outputs[0], array)


def settle_shapes(graph: gs.Graph) -> None:
    """Sizes that are known become constants; the graph must be sorted."""
    known = ShapeValues.of(graph)
    for node in graph.nodes:
        entries = known.values.get(node.outputs[0].name) if node.op in ("Shape", "Gather", "Slice") else None
        if entries is None or not all(isinstance(entry, int) for entry in entries):
            continue
        scalar = node.op == "Gather" and np.ndim(node.inputs[1].values) == 0
        settle(node.outputs[0], np.array(entries[0] if scalar else entries, np.int64))


def settle_results(graph: gs.Graph, like: onnx.ModelProto, largest: int) -> None:
    """What can be computed of constants alone is; results of more than ``largest`` bytes are not. The graph must be
    sorted, and the outputs that became constants stay its outputs."""
    nodes = _within(_computable(graph), like, largest)
    if not nodes:
        return
    inner = {id(node) for node in nodes}
    made = {tensor.name: tensor for node in nodes for tensor in node.outputs if not tensor.is_empty()}
    wanted = [
        tensor
        for tensor in made.values()
        if is_output(graph, tensor) or any(id(reader) not in inner for reader in tensor.outputs)
    ]
    for name, array in _computed(nodes, wanted, like).items():
        settle(made[name], array)


def settle(tensor: gs.Tensor, array: NDArray[np.generic]) -> None:
    """The tensor becomes a constant that nothing makes."""
    tensor.to_constant(array)
    tensor.inputs.clear()


def _computable(graph: gs.Graph) -> list[gs.Node]:
    """The nodes that read constants, or what one of them makes, and always make the same of that."""
    found: list[gs.Node] = []
    known: set[int] = set()
    for node in graph.nodes:
        fixed = (
            node.op not in KEPT and node.domain in STANDARD and not any(_own(value) for value in node.attrs.values())
        )
        if fixed and all(t.is_empty() or is_constant(t) or id(t) in known for t in node.inputs):
            found.append(node)
            known |= {id(tensor) for tensor in node.outputs}
    return found


def _own(value: object) -> bool:
    """Whether an attribute is a graph, or refers to one of a function."""
    return isinstance(value, gs.Graph | gs.Node.AttributeRef) or (
        isinstance(value, list) and any(isinstance(entry, gs.Graph) for entry in value)
    )


def _within(nodes: Sequence[gs.Node], like: onnx.ModelProto, largest: int) -> list[gs.Node]:
    """Those whose results are numbers, and of a size that is known and within bounds."""
    if not nodes:
        return []
    given = {id(t): t for node in nodes for t in node.inputs if is_constant(t)}
    left = max(ALL, 2 * sum(tensor._values.nbytes for tensor in given.values()))
    sizes = _sizes(_exported(nodes, (), like).model)
    found, known = [], set(given)
    for node in nodes:
        made = [tensor for tensor in node.outputs if not tensor.is_empty()]
        size = [sizes.get(tensor.name, math.inf) for tensor in made]
        if node.op in SMALLER and all(id(tensor) in given or tensor.is_empty() for tensor in node.inputs):
            size = [8 * sum(t._values.nbytes for t in node.inputs if not t.is_empty()) for _ in made]
        read = all(tensor.is_empty() or id(tensor) in known for tensor in node.inputs)
        if read and max(size, default=math.inf) <= largest and sum(size) <= left:
            left -= int(sum(size))
            found.append(node)
            known |= {id(tensor) for tensor in node.outputs}
    return found


def _sizes(model: onnx.ModelProto) -> dict[str, int]:
    """Bytes by tensor, of arrays of numbers whose shape can be inferred."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return {}
    found = {}
    for value in inferred.value_info:
        kind = value.type.tensor_type
        if value.type.HasField("tensor_type") and kind.HasField("shape") and _is_number(kind.elem_type):
            dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim]
            if min(dims, default=0) >= 0:
                found[value.name] = math.prod(dims) * onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
    return found


def _is_number(kind: int) -> bool:
    """Whether it is a dtype that numpy has itself, which onnxruntime gives back as an array."""
    if kind in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING):
        return False
    return onnx.helper.tensor_dtype_to_np_dtype(kind).isbuiltin == 1


def _computed(
    nodes: Sequence[gs.Node], wanted: Sequence[gs.Tensor], like: onnx.ModelProto
) -> dict[str, NDArray[np.generic]]:
    """What is wanted; where onnxruntime refuses a node, all that the others make."""
    lean = _exported(nodes, wanted, like)
    try:
        return Session(lean, optimize=False).run({})
    except ModelError:
        return _one_by_one(lean.whole())


def _one_by_one(model: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    found: dict[str, NDArray[np.generic]] = {}
    for node in model.graph.node:
        if all(name in constants or not name for name in node.input):
            gives = [name for name in node.output if name]
            try:
                made = Session(piece(model, [node], constants, {}, gives), optimize=False).run({})
            except ModelError:
                continue
            constants |= {name: onnx.numpy_helper.from_array(array, name) for name, array in made.items()}
            found |= made
    return found


def _exported(nodes: Sequence[gs.Node], outputs: Iterable[gs.Tensor], like: onnx.ModelProto) -> Lean:
    opsets = {entry.domain: entry.version for entry in like.opset_import}
    version = opsets.get("") or opsets["ai.onnx"]
    alone = gs.Graph(nodes, [], list(outputs), name="constants", opset=version, import_domains=like.opset_import)
    return Lean.export(alone, like)
