"""Tables of rules that several targets share."""

from collections.abc import Mapping

from onnxq.backends.backend import Reads, Rule
from onnxq.graph import HEAVY_OPS

_BETWEEN = Rule(Reads.ENCLOSED, writes=True)
_MOVES = Rule(Reads.ENCLOSED, writes=True, same_grid=True)

WHOLE_INTEGER: Mapping[str, Rule] = {
    **dict.fromkeys(HEAVY_OPS, Rule(Reads.ALWAYS, writes=True)),
    "MatMul": Rule(Reads.ALWAYS),  # the Add of its bias, which fuses with it, comes first
    **dict.fromkeys(("Add", "Sub", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "ReduceMean"), _BETWEEN),
    **dict.fromkeys(("Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Elu", "Softmax"), _BETWEEN),
    **dict.fromkeys(("MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split"), _MOVES),
    "Resize": _MOVES,
}
"""Processors without floats: the results of linear layers, and all that lies between them, are integers."""

LINEAR_INPUTS: Mapping[str, Rule] = dict.fromkeys(HEAVY_OPS, Rule(Reads.ALWAYS))
"""What linear layers read is integer, and nothing else."""

FUSED = frozenset({"Relu", "Clip"})
"""Activations that such targets compute with the layer before them."""
