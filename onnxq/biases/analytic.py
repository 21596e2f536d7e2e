"""Analytic correction: ``E[(W - W rounded) x] = (W - W rounded) E[x]``, with the mean that batch norms tell of ``x``
(Nagel et al. 2019, arXiv 1906.04721, eq. 17). Zero padding, of which the mean is less at the border, is not looked at.
"""

import math
from collections.abc import Mapping

import numpy as np

from onnxq.arrays import Vector
from onnxq.biases.expected import UNTOLD, Expectations
from onnxq.biases.where import Biased, Finding
from onnxq.errors import Declined
from onnxq.graph import layout
from onnxq.scheme import dequantize
from onnxq.workspace import RoundedWeight, Workspace

EXPECTED = "the mean error of its rounded weights, by batch norms, is taken back by its bias"


def analytic(workspace: Workspace, layers: Mapping[str, Biased]) -> dict[str, Finding]:
    """By the name of the node that has the bias, of those whose weight is rounded."""
    rounded = {name: entry for weight, entry in workspace.weights.items() for name, _ in weight.readers}
    expectations, found = Expectations(workspace.normals), {}
    for name, layer in layers.items():
        if layer.layer.name not in rounded:
            continue
        try:
            shift = _missing(layer, rounded[layer.layer.name], expectations)
        except Declined as reason:
            found[name] = Finding(None, f"its bias is left: {reason}")
        else:
            found[name] = Finding(shift, EXPECTED)
    return found


def _missing(layer: Biased, rounded: RoundedWeight, expectations: Expectations) -> Vector:
    """What rounding takes from the mean of each output channel. Raises Declined where that of the input is unknown."""
    node, where = layer.layer, layout(layer.layer)
    assert where is not None
    source = node.inputs[1 - where.index]
    if node.attrs.get("transA", 0) or (node.op == "MatMul" and len(source.shape or ()) != 2):
        raise Declined(f"{UNTOLD}: its channels are not on axis 1")
    mean = expectations.mean(source)
    lost = np.asarray(node.inputs[where.index].values, np.float64) - dequantize(rounded.integers, rounded.params)
    if node.op == "ConvTranspose":  # [in, out of a group, ...]; an output position sees every stride-th tap
        lost = lost.reshape(where.groups, -1, *lost.shape[1:]).swapaxes(1, 2)
        lost = lost.reshape(-1, *lost.shape[2:]) / math.prod(node.attrs.get("strides", [1]))
    elif where.out_axis == 1:
        lost = lost.T
    taps = lost.reshape(*lost.shape[:2], -1).sum(axis=2).reshape(where.groups, -1, lost.shape[1])
    if mean.size != where.groups * lost.shape[1]:
        raise Declined(f"{UNTOLD}: of {mean.size} channels, and it reads {where.groups * lost.shape[1]}")
    shift: Vector = np.einsum("goi,gi->go", taps, mean.reshape(where.groups, -1)).ravel()
    return shift * float(node.attrs.get("alpha", 1.0))
