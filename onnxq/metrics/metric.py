"""What a metric is: one number over samples, better when larger, that may be counted a batch at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from onnxq.errors import DataError, unknown
from onnxq.inputs import Array, described

P = TypeVar("P")


class Metric(Protocol):
    """A number that is better when larger."""

    @property
    def name(self) -> str: ...

    @property
    def unit(self) -> str: ...

    def measure(self, outputs: Mapping[str, Array], labels: Array) -> float:
        """The metric over outputs ``[n, ...]`` by name, in graph order, and labels ``[n]``."""


@dataclass(frozen=True, eq=False)
class Known:
    """What the outputs of a batch are held against: its labels, and what the reference answered; None if there is none.

    ``count`` is the number of samples.
    """

    count: int
    labels: Array | None = None
    reference: Mapping[str, Array] | None = None


@runtime_checkable
class Counted(Protocol[P]):
    """A metric that keeps of every batch what counts, so that outputs need not be held.

    ``compares``: it holds outputs against a reference, not against labels.
    """

    @property
    def name(self) -> str: ...

    @property
    def unit(self) -> str: ...

    @property
    def compares(self) -> bool: ...

    def part(self, outputs: Mapping[str, Array], known: Known) -> P:
        """What counts of one batch. Raises DataError where outputs or labels are none that the metric can read."""

    def total(self, parts: Sequence[P]) -> float:
        """The metric over all batches, the same for any cut into batches."""


@dataclass(frozen=True)
class Held:
    """A metric that wants all outputs at once: they are held."""

    metric: Metric
    compares: bool = False

    @property
    def name(self) -> str:
        return self.metric.name

    @property
    def unit(self) -> str:
        return self.metric.unit

    def part(self, outputs: Mapping[str, Array], known: Known) -> tuple[Mapping[str, Array], Array]:
        return outputs, labels_of(self.name, known)

    def total(self, parts: Sequence[tuple[Mapping[str, Array], Array]]) -> float:
        outputs = joined([part for part, _ in parts])
        return self.metric.measure(outputs, np.concatenate([labels for _, labels in parts]))


def counted(metric: Metric | Counted[Any]) -> Counted[Any]:
    """The metric as one that is counted a batch at a time."""
    return metric if isinstance(metric, Counted) else Held(metric)


def joined(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Outputs of all batches by name. Raises DataError where they change shape."""
    try:
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
    except ValueError as error:
        raise DataError(f"outputs change shape from batch to batch, so they cannot be joined: {error}.") from error


def labels_of(metric: str, known: Known) -> Array:
    """The labels. Raises DataError where the samples have none."""
    if known.labels is None:
        raise DataError(
            f"metric {metric} wants labels, and the samples have none. Add an array 'labels' to them (docs/data.md), "
            "or measure without: agreement and sqnr, against a reference."
        )
    return known.labels


def reference_of(metric: str, known: Known) -> Mapping[str, Array]:
    """What the reference answered. Raises DataError where there is none."""
    if known.reference is None:
        raise DataError(f"metric {metric} compares with a reference. Give --reference FP32.onnx (reference=).")
    return known.reference


def output_of(outputs: Mapping[str, Array], name: str, count: int) -> Array:
    """The output of that name, or the first; axis 0 counts the samples. Raises DataError where it does not."""
    if name and name not in outputs:
        raise DataError(unknown("output", name, outputs))
    name = name or next(iter(outputs))
    output = outputs[name]
    if output.ndim == 0 or len(output) != count or count == 0:
        shown = described(output.dtype, output.shape)
        raise DataError(f"output {name!r} is {shown} and there are {count} samples; one row for each is wanted.")
    return output
