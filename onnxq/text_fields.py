"""Whether all text of a model is text: protobuf reads a file with other bytes in a name, and fails where it is used."""

from collections.abc import Iterator

import onnx
from google.protobuf.message import Message

from onnxq.errors import ModelError


def refuse_other_bytes(proto: onnx.ModelProto, where: str) -> None:
    """Raises ModelError for a name or another text that is not UTF-8."""
    if not all(map(_is_text, _texts(proto))):
        raise ModelError(f"{where}: some name in it is not UTF-8 text; the file is damaged. Export it again.")


def _is_text(value: object) -> bool:
    """Of other bytes protobuf makes bytes, or a text that cannot be written."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeError:
        return False
    return True


def _texts(message: Message) -> Iterator[object]:
    """Every text in it; the numbers of tensors are left alone."""
    waiting = [message]
    while waiting:
        found = waiting.pop()
        if isinstance(found, onnx.TensorProto):
            waiting += found.external_data
            yield from (found.name, found.doc_string)
            continue
        for entry, value in found.ListFields():
            if entry.message_type is not None:
                waiting += [value] if isinstance(value, Message) else value
            elif entry.type == entry.TYPE_STRING:
                yield from [value] if isinstance(value, str | bytes) else value
