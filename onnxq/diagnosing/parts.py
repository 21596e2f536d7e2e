"""Weights or activations? The noise of the outputs with the ones quantized alone, with the others, and with both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnxq.diagnosing.behind import Behind, Change
from onnxq.diagnosing.switched import Switched
from onnxq.held_out import Heard
from onnxq.inputs import Array

Tensors = Mapping[str, Array]


@dataclass(frozen=True)
class Parts:
    """Error over signal in power, the mean over all float outputs."""

    weights: float
    activations: float
    both: float


def parts(network: Switched, batches: Sequence[Tensors], wanted: Sequence[Tensors]) -> Parts:
    """On ``batches``, whose float answers are ``wanted``."""
    switches = tuple(network.switches.values())
    changes = Change(network.rounded), Change(on=switches), Change(network.rounded, on=switches)
    return Parts(*(noise(Behind(network.wanted, batches), change, wanted) for change in changes))


def noise(model: Behind, change: Change, wanted: Sequence[Tensors]) -> float:
    """Of the outputs with one change."""
    heard = Heard()
    for answers, made in zip(wanted, model.outputs(change), strict=True):
        heard.add(answers, made)
    return heard.noise
