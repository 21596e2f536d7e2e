"""Watch tensors while a graph runs, batch by batch: what is kept of each is small, and merges."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxq.channel_weights import ChannelWeights
from onnxq.execute import Session, real_samples, returning
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

    def add(self, array: NDArray[np.float32], samples: int, /) -> None:
        """``array`` is the tensor of so many ``samples``, mostly along its first axis."""

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
    """The extremes of a tensor, and how often it has which values; each counts with the weight of its channel, if there
    are ``weights``."""

    tensor: str
    histogram: bool = True
    weights: ChannelWeights | None = None

    def begin(self) -> Accumulator[TensorStatistics]:
        return Count(self.histogram, None if self.weights is None else self.weights.row)


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
    names = sorted({watcher.tensor for watcher in watchers.values()})
    session = Session(returning(model, names))
    found = {key: (watcher.tensor, watcher.begin()) for key, watcher in watchers.items()}
    for part in samples.batches(batch or _choose_batch(session, samples, names)):
        seen = {**part.feeds, **session.run(part.feeds)}
        arrays = {name: real_samples(seen[name], part).astype(np.float32, copy=False) for name in names}
        for tensor, accumulator in found.values():
            accumulator.add(arrays[tensor], part.count)
        step(part.start + part.count)
    return {key: accumulator.kept() for key, (_, accumulator) in found.items()}


def _choose_batch(session: Session, samples: Samples, names: list[str]) -> int:
    first = next(iter(samples.batches(1)))
    seen = {**first.feeds, **session.run(first.feeds)}
    weight = sum(seen[name].nbytes for name in names) or 1
    return max(1, min(LARGEST_BATCH, BATCH_BYTES // weight))
