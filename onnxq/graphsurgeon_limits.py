"""What onnx-graphsurgeon would lose of a model without a word, or stumble over, is refused before it is read."""

import onnx

from onnxq.errors import ModelError
from onnxq.normalise import nodes

KNOWN = frozenset(
    (
        *(onnx.AttributeProto.FLOAT, onnx.AttributeProto.INT, onnx.AttributeProto.STRING, onnx.AttributeProto.TENSOR),
        *(onnx.AttributeProto.FLOATS, onnx.AttributeProto.INTS, onnx.AttributeProto.STRINGS),
        onnx.AttributeProto.GRAPH,
    )
)


def refuse_unheld(proto: onnx.ModelProto) -> None:
    """Raises ModelError for an attribute of a kind that it drops, or of bytes that are no text."""
    for node in nodes(proto.graph):
        for attribute in node.attribute:
            if attribute.type not in KNOWN:
                kind = onnx.AttributeProto.AttributeType.Name(attribute.type)
                raise ModelError(
                    f"node {node.name!r} ({node.op_type}): its attribute {attribute.name!r} is a {kind}, which "
                    "onnx-graphsurgeon cannot hold. Take the node out of the model, and quantize the rest."
                )
            if not all(_is_text(value) for value in (attribute.s, *attribute.strings)):
                raise ModelError(f"node {node.name!r} ({node.op_type}): its attribute {attribute.name!r} is not UTF-8.")


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
