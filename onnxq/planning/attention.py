"""Attention, found by its structure: products of two activations, and the projections that feed them."""

import onnx_graphsurgeon as gs

from onnxq.graph import is_constant, readers

_CUTS = frozenset({"Gather", "Slice", "Split"})
_BETWEEN = _CUTS | {"Add", "Div", "Identity", "Mul", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}


def is_cut_projection(node: gs.Node) -> bool:
    """Whether one matrix product makes several of q, k and v, which are cut out of its result."""
    if node.op not in ("Gemm", "MatMul"):
        return False
    stack: list[tuple[gs.Tensor, bool]] = [(node.outputs[0], False)]
    seen: set[int] = set()
    while stack:
        tensor, cut = stack.pop()
        for reader, _ in readers(tensor):
            if cut and is_product(reader):
                return True
            if reader.op in _BETWEEN and id(reader) not in seen:
                seen.add(id(reader))
                stack += [(result, cut or reader.op in _CUTS) for result in reader.outputs]
    return False


def is_product(node: gs.Node) -> bool:
    """Whether the node multiplies two activations, as queries with keys."""
    return node.op == "MatMul" and not any(is_constant(tensor) for tensor in node.inputs)
