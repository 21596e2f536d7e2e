"""Whether all text of a model is text: protobuf reads a file with other bytes in a name, and fails when asked for it."""

import onnx
from google.protobuf.message import Message

from onnxq.errors import ModelError


def refuse_other_bytes(proto: onnx.ModelProto, where: str) -> None:
    """Raises ModelError for a name or another text that is not UTF-8."""
    try:
        _read(proto)
    except UnicodeDecodeError as error:
        raise ModelError(
            f"{where}: some name in it is not UTF-8 text; the file is damaged. Export it again."
        ) from error


def _read(message: Message) -> None:
    """Every text in it; the numbers of tensors are left alone."""
    waiting = [message]
    while waiting:
        found = waiting.pop()
        if isinstance(found, onnx.TensorProto):
            waiting += found.external_data
            _ = found.name, found.doc_string
            continue
        for entry, value in found.ListFields():
            if entry.message_type is not None:
                waiting += [value] if isinstance(value, Message) else value
            elif entry.type == entry.TYPE_STRING:
                _ = value if isinstance(value, str) else list(value)
