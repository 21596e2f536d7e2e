"""Weights or activations? The noise of the outputs with the ones quantized alone, with the others, and with both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

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
    wanted = of_outputs(network.wanted, wanted)
    switches = tuple(network.switches.values())
    changes = Change(network.rounded), Change(on=switches), Change(network.rounded, on=switches)
    return Parts(*(noise(Behind(network.wanted, batches), change, wanted) for change in changes))


def of_outputs(model: onnx.ModelProto, answers: Sequence[Tensors]) -> list[Tensors]:
    """Those that are outputs of the model."""
    return [{value.name: tensors[value.name] for value in model.graph.output} for tensors in answers]


def noise(model: Behind, change: Change, wanted: Sequence[Tensors]) -> float:
    """Of the outputs with one change."""
    return heard(model, change, wanted).noise


def heard(model: Behind, change: Change, wanted: Sequence[Tensors]) -> Heard:
    """Every output with one change, beside what is ``wanted``."""
    found = Heard()
    for answers, made in zip(wanted, model.outputs(change), strict=True):
        found.add(answers, made)
    return found
