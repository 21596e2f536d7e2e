"""Watch tensors while a graph runs, batch by batch: what is kept of each is small, and merges."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import onnx

from onnxq.execute import Session, real_samples, return_from
from onnxq.reductions import HUGE, Outputs, every, makes_nan, reduce
from onnxq.samples import Samples
from onnxq.statistics import Count, TensorStatistics

BATCH_BYTES = 16 * 2**20  # of watched tensors at a time: enough to be fast, little enough to forget
LARGEST_BATCH = 32


class Mergeable(Protocol):
    """What is known from some samples. Merged in the order of the samples, parts give what the whole does."""

    def merge(self, other: Self, /) -> Self: ...


Kept = TypeVar("Kept", covariant=True, bound=Mergeable)


class Accumulator(Protocol[Kept]):
    """Is shown a tensor again and again."""

    def add(self, array: Any, samples: int, /) -> None:
        """``array`` is the tensor of so many ``samples``, float32 and mostly along its first axis; for ``Values``,
        what was ``Reduced`` of it if it is large."""

    def kept(self) -> Kept:
        """What is known from all that was shown."""


class Watcher(Protocol[Kept]):
    """What is to be kept of a tensor."""

    @property
    def tensor(self) -> str:
        """Its name."""

    def begin(self) -> Accumulator[Kept]:
        """One that has seen nothing yet."""


@dataclass(frozen=True)
class Values:
    """The extremes of a tensor, and how often it has which values."""

    tensor: str
    histogram: bool = True

    def begin(self) -> Accumulator[TensorStatistics]:
        return Count(self.histogram)


Key = TypeVar("Key")


def watch(
    model: onnx.ModelProto,
    watchers: Mapping[Key, Watcher[Any]],
    samples: Samples,
    *,
    batch: int | None = None,
    step: Callable[[int], None] = lambda done: None,
) -> dict[Key, Any]:
    """What the ``watchers`` keep of all samples, in one pass, and in memory that does not grow with their number.

    ``batch=None`` chooses the batch from what one sample's tensors weigh. ``step`` is told how many samples are done.
    """
    totals = makes_nan(model.graph)
    found = _watched(model, watchers, samples, batch, step, totals)
    if not totals and any(isinstance(kept, TensorStatistics) and kept.reach > HUGE for kept in found.values()):
        return _watched(model, watchers, samples, batch, step, totals=True)
    return found


def _watched(
    model: onnx.ModelProto,
    watchers: Mapping[Key, Watcher[Any]],
    samples: Samples,
    batch: int | None,
    step: Callable[[int], None],
    totals: bool,
) -> dict[Key, Any]:
    """``totals``: look for NaN."""
    watched, reduced = _reduced(model, watchers, totals)
    names = {watcher.tensor for key, watcher in watchers.items() if key not in reduced}
    return_from(watched, {*names, *every(reduced.values())})
    session = Session(watched)
    found = {key: watcher.begin() for key, watcher in watchers.items()}
    for part in samples.batches(batch or _choose_batch(session, samples, names, reduced.values())):
        seen = {**part.feeds, **session.run(part.feeds)}
        arrays = {name: real_samples(array, part).astype(np.float32, copy=False) for name, array in seen.items()}
        for key, accumulator in found.items():
            accumulator.add(reduced[key].of(arrays) if key in reduced else arrays[watchers[key].tensor], part.count)
        step(part.start + part.count)
    return {key: accumulator.kept() for key, accumulator in found.items()}


def _reduced(
    model: onnx.ModelProto, watchers: Mapping[Key, Watcher[Any]], totals: bool
) -> tuple[onnx.ModelProto, dict[Key, Outputs]]:
    """The model with nodes that reduce what only values are watched of, and what they make, by watcher."""
    alone = {key: watcher for key, watcher in watchers.items() if isinstance(watcher, Values)}
    whole = {watcher.tensor for key, watcher in watchers.items() if key not in alone}
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    made = reduce(extended, {w.tensor: w.histogram for w in alone.values() if w.tensor not in whole}, totals)
    return extended, {key: made[watcher.tensor] for key, watcher in alone.items() if watcher.tensor in made}


def _choose_batch(session: Session, samples: Samples, names: Iterable[str], reduced: Iterable[Outputs]) -> int:
    """By what one sample's tensors weigh: those that are taken out, and those that are reduced."""
    first = next(iter(samples.batches(1)))
    seen = {**first.feeds, **session.run(first.feeds)}
    weight = sum(seen[name].nbytes for name in names) + sum(outputs.bytes for outputs in reduced)
    return max(1, min(LARGEST_BATCH, BATCH_BYTES // (weight or 1)))
