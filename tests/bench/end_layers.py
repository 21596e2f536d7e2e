"""The layers at a model's ends, whose weights are often given more bits."""

import onnx

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def end_weights(graph: onnx.GraphProto) -> list[str]:
    """Weights of the layers that no layer stands before, and of those that none stands behind."""
    constants = {tensor.name for tensor in graph.initializer}
    layers = {
        node.output[0]: node.input[1] for node in graph.node if node.op_type in LAYERS and node.input[1] in constants
    }
    before: dict[str, bool] = {}
    for node in graph.node:
        above = any(before.get(name, False) or name in layers for name in node.input)
        before |= dict.fromkeys(node.output, above)
    behind: dict[str, bool] = {}
    for node in reversed(graph.node):
        below = any(behind.get(name, False) for name in node.output)
        for name in node.input:
            behind[name] = behind.get(name, False) or below or node.output[0] in layers
    return [weight for made, weight in layers.items() if not before[made] or not behind.get(made, False)]
