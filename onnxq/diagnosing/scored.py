"""What it means in points: a card's metric of the float model, of the recipe as it is, and of the recommended one."""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from onnxq.evaluating.evaluate import evaluate
from onnxq.evaluating.running import SIMULATION
from onnxq.models.card import Card

SAMPLES = 1000


@dataclass(frozen=True)
class Scored:
    """On the first ``samples`` of the test data, of graphs computed node by node."""

    metric: str
    unit: str
    samples: int
    fp32: float
    before: float
    after: float


def scored(card: Card, models: Sequence[onnx.ModelProto]) -> Scored | None:
    """The quantized models before and after; None where the card has no labelled test data."""
    if card.metric is None or card.test_path is None:
        return None
    found = evaluate([card, *models], engines=SIMULATION, samples=SAMPLES)
    values = [row.values[0].value for row in found.rows]
    if found.problems or any(value is None for value in values):
        return None
    one = found.rows[0].values[0]
    fp32, before, after = (float(value) for value in values if value is not None)
    return Scored(one.metric, one.unit, found.rows[0].samples, fp32, before, after)
