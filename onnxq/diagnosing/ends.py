"""What the outputs are joined of: a detector that returns one tensor has put boxes and scores of several heads in it.

A head that is lost is a small share of the power of such an output; it is heard where each is judged by itself.
"""

from collections.abc import Iterator

import onnx

from onnxq.execute import returning

_MOVES = frozenset({"Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze"})


def ends(model: onnx.ModelProto) -> tuple[str, ...]:
    """The inputs of Concats behind which nothing is computed any more; an output that is no such Concat by itself."""
    made = {name: node for node in model.graph.node for name in node.output}

    def joined(tensor: str) -> Iterator[str]:
        node = made.get(tensor)
        while node is not None and node.op_type in _MOVES:
            node = made.get(node.input[0])
        if node is None or node.op_type != "Concat":
            yield tensor
        else:
            for name in node.input:
                yield from joined(name)

    found = (name for value in model.graph.output for name in joined(value.name))
    return tuple(dict.fromkeys(name for name in found if name in made))


def showing(model: onnx.ModelProto, names: tuple[str, ...]) -> onnx.ModelProto:
    """The model with further outputs."""
    return returning(model, {*(value.name for value in model.graph.output), *names})
