"""Watch tensors while a graph runs, batch by batch: what is kept of each is small, and merges."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxq.execute import Session, real_samples, returning
from onnxq.inputs import Array
from onnxq.samples import Batch, Samples
from onnxq.statistics import Count, TensorStatistics

if TYPE_CHECKING:
    from distributed import Client

BATCH_BYTES = 16 * 2**20  # of watched tensors at a time: enough to be fast, little enough to forget
LARGEST_BATCH = 32
THREADS = 1  # of a session on a cluster: some sums depend on their number, and workers need not have as many


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
    cluster: "str | Client | None" = None,
    tell: Callable[[str], None] = lambda reason: None,
) -> dict[Key, Any]:
    """What the ``watchers`` keep of all samples, in one pass, and in memory that does not grow with their number.

    Every shard of the samples is watched by itself, and what is kept of it is merged with what is kept of all before
    it: always in this order, so that sums of floats are the same wherever the shards were watched. ``batch=None``
    chooses the batch from what one sample's tensors weigh. ``step`` is told how many samples are done. Of a
    ``cluster``, by its scheduler's address, the workers watch; ``tell`` is told what the user should know of them.
    """
    watching = Watching(model, watchers, None if cluster is None else THREADS)
    size = batch or watching.batch(samples)
    if cluster is None:
        return folded(watching.shard(batches, step) for batches in samples.shards(size))
    from onnxq.cluster.coordinator import spread

    with closing(spread(cluster, watching, samples, size, step=step, tell=tell)) as shards:  # at an error too
        return folded(shards)


class Watching(Generic[Key]):
    """A model that runs, and what is to be kept of its tensors: it watches one shard after another."""

    def __init__(
        self, model: onnx.ModelProto, watchers: Mapping[Key, Watcher[Any]], threads: int | None = None
    ) -> None:
        self.model, self.watchers = model, watchers
        self._names = sorted({watcher.tensor for watcher in watchers.values()})
        self._session = Session(returning(model, self._names), threads=threads)

    def batch(self, samples: Samples) -> int:
        """A batch whose watched tensors weigh little."""
        weight = sum(array.nbytes for array in self._seen(next(iter(samples.batches(1)))).values()) or 1
        return max(1, min(LARGEST_BATCH, BATCH_BYTES // weight))

    def shard(self, batches: Iterable[Batch], step: Callable[[int], None] = lambda done: None) -> dict[Key, Any]:
        """What is kept of one shard."""
        found = {key: (watcher.tensor, watcher.begin()) for key, watcher in self.watchers.items()}
        for part in batches:
            seen = self._seen(part)
            arrays = {name: real_samples(seen[name], part).astype(np.float32, copy=False) for name in self._names}
            for tensor, accumulator in found.values():
                accumulator.add(arrays[tensor], part.count)
            step(part.start + part.count)
        return {key: accumulator.kept() for key, (_, accumulator) in found.items()}

    def digest(self, part: Batch) -> str:
        """Of the watched tensors' bytes: the same wherever they are computed alike to the last bit."""
        found = sha256()
        for array in self._seen(part).values():
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def _seen(self, part: Batch) -> dict[str, Array]:
        made = {**part.feeds, **self._session.run(part.feeds)}
        return {name: made[name] for name in self._names}


def folded(shards: Iterable[dict[Key, Any]]) -> dict[Key, Any]:
    """What is kept of all ``shards``, merged from the first to the last."""
    total: dict[Key, Any] = {}
    for found in shards:
        for key in list(found):  # one after the other, so that no third of anything is held for long
            kept = found.pop(key)
            total[key] = total[key].merge(kept) if key in total else kept
    return total
