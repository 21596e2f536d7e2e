"""What computes a tensor, as one short word: tensors that are computed alike from alike inputs have the same one.

So it is known of a tensor, whatever it is called and whatever else the graph computes, whether it is the one that was
measured before: its word is made of its operator, attributes and opset, and the words of all that it reads.
"""

from collections.abc import Mapping
from hashlib import blake2b

import onnx

from onnxq.outside import numbers, raw

SIZE = 16  # bytes


def computations(model: onnx.ModelProto) -> dict[str, str]:
    """The word of every tensor of the main graph, by its name."""
    words: dict[str, bytes] = {value.name: _word(b"input", value.name.encode()) for value in model.graph.input}
    for tensor in model.graph.initializer:
        words[tensor.name] = _constant(tensor)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    functions = b"".join(sorted(function.SerializeToString(deterministic=True) for function in model.functions))
    for node in model.graph.node:
        word = _node(node, opsets.get(node.domain, 0), words, functions)
        for index, name in enumerate(node.output):
            words[name] = _word(word, str(index).encode())
    return {name: word.hex() for name, word in words.items() if name}


def _node(node: onnx.NodeProto, opset: int, words: Mapping[str, bytes], functions: bytes) -> bytes:
    attributes = [entry.SerializeToString(deterministic=True) for entry in sorted(node.attribute, key=lambda a: a.name)]
    called = functions if node.domain not in ("", "ai.onnx") else b""
    read = [words.get(name, b"") for name in node.input]
    return _word(f"{node.domain} {node.op_type} {opset}".encode(), called, *attributes, b"reads", *read)


def _constant(tensor: onnx.TensorProto) -> bytes:
    """By its type, its shape and its numbers."""
    array = numbers(tensor)
    return _word(
        b"constant", str((array.dtype, array.shape)).encode(), raw(array) if array.dtype != object else array.tobytes()
    )


def _word(*parts: bytes | memoryview) -> bytes:
    found = blake2b(digest_size=SIZE)
    for part in parts:
        found.update(memoryview(part).nbytes.to_bytes(8, "little"))
        found.update(part)
    return found.digest()
