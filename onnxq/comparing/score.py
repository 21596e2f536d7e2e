"""A metric of both sides, and how much less the second has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnxq.comparing.sides import Side
from onnxq.execute import real_samples
from onnxq.inputs import Array
from onnxq.metrics.metric import Counted, Known
from onnxq.samples import Batch


@dataclass(frozen=True)
class Score:
    """What both sides have of a ``metric``, in its ``unit``."""

    metric: str
    unit: str
    first: float
    second: float

    @property
    def drop(self) -> float:
        return self.first - self.second

    def missed(self, most: float) -> str:
        """In words, where the second has less by more than ``most``; else nothing. NaN is less."""
        if self.drop <= most:
            return ""
        values = f"{self.first:.2f} {self.unit} become {self.second:.2f}"
        return f"{self.metric}: {values}, {self.drop:.2f} lost of at most {most:g} (--max-drop)"


def score(metric: Counted[Any], first: Side, second: Side, parts: Sequence[Batch]) -> Score:
    """Raises DataError where samples have no labels that the metric wants, or outputs are none that it reads."""
    found = []
    for side in (first, second):
        runs = zip(side.iterations, first.iterations, parts, strict=True)
        counts = [
            metric.part(_real(mine, part), Known(part.count, part.labels, _real(theirs, part)))
            for mine, theirs, part in runs
        ]
        found.append(metric.total(counts))
    return Score(metric.name, metric.unit, *found)


def _real(outputs: Mapping[str, Array], part: Batch) -> dict[str, Array]:
    return {name: real_samples(array, part) for name, array in outputs.items()}
