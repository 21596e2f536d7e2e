"""Empirical correction: layer by layer in graph order, each behind layers that are corrected already, in one walk of
the float and of the quantized graph over the same samples.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from onnxq.arrays import Vector
from onnxq.biases.error import BiasError
from onnxq.biases.where import Biased, Finding
from onnxq.inputs import Array
from onnxq.walk import Walk, levels, side_by_side
from onnxq.workspace import Progress

KEPT_BYTES = 64 * 2**20  # of activations that wait for later layers; samples that find no room are left out
CORRECTED = "the mean error of its output is taken back by its bias"
UNSURE = "its bias is left: what one half of the samples would correct is wrong for the other half"
INFINITE = "its bias is left: its output is infinite, NaN, or of another shape on the samples"


def measured(
    wanted: onnx.ModelProto,
    made: onnx.ModelProto,
    layers: Mapping[str, Biased],
    feeds: Sequence[Mapping[str, Array]],
    progress: Progress,
) -> dict[str, Finding]:
    """By the name of the node that has the bias; layers whose output is exact are left out.

    ``wanted`` is the float graph, ``made`` the quantized one. Raises ModelError where a part of one cannot run.
    """
    groups = levels(wanted.graph, layers.keys())
    walks = (_walk(wanted, groups, feeds), _walk(made, groups, feeds))
    outputs = [{node.name: node.output[0] for node in model.graph.node} for model in (wanted, made)]
    found: dict[str, Finding] = {}
    for done, group in enumerate(groups):
        progress("correct biases", done, len(groups))
        ends = [(name, outputs[0][name], outputs[1][name]) for name in group]
        seen = _seen(walks, ends, layers)
        for name, _, tensor in ends:
            finding = _finding(seen[name])
            if finding is not None:
                found[name] = finding
            if finding is not None and finding.shift is not None:
                _shift(walks[1], tensor, finding.shift, layers[name].axis)
    progress("correct biases", len(groups), len(groups))
    return found


def _walk(model: onnx.ModelProto, groups: Sequence[Sequence[str]], feeds: Sequence[Mapping[str, Array]]) -> Walk:
    made = {node.name: node.output[0] for node in model.graph.node}
    return Walk(model, [[made[name] for name in group] for group in groups], feeds)


def _seen(
    walks: tuple[Walk, Walk], ends: Sequence[tuple[str, str, str]], layers: Mapping[str, Biased]
) -> dict[str, BiasError]:
    """The errors of some layers, from the next part of both walks."""
    seen = {name: BiasError(layers[name].function) for name, _, _ in ends}
    for wanted, made in side_by_side(walks, KEPT_BYTES):
        for name, one, other in ends:
            seen[name].add(wanted[one], made[other], layers[name].axis)
    return seen


def _finding(error: BiasError) -> Finding | None:
    if not error.usable:
        return Finding(None, INFINITE)
    if error.error == 0:
        return None
    shift = error.correction()
    before, after = error.sqnr_db()
    what = "SQNR of its output" if error.function is None else "SQNR behind its activation function"
    if not np.any(shift):
        return Finding(None, UNSURE, f"{what} {before:.1f} dB")
    return Finding(shift, CORRECTED, f"{what} {before:.1f} -> {after:.1f} dB")


def _shift(walk: Walk, tensor: str, shift: Vector, axis: int) -> None:
    """What later parts read of ``tensor`` is moved, as if it had been made so."""
    for kept in walk.kept:
        if tensor in kept:
            shape = [1] * kept[tensor].ndim
            shape[axis] = -1
            kept[tensor] = np.add(kept[tensor], shift.reshape(shape), dtype=np.float32)
