"""QNN with 16-bit activations and 8-bit weights, which Hexagon computes where 8 bits lose too much."""

from dataclasses import replace

from onnxq.backends.targets.qnn import BACKEND as QNN

assert QNN.wide is not None
BACKEND = replace(QNN, name="qnn_a16", title="QNN W8A16", activation=QNN.wide)
