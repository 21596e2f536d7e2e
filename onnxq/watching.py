"""Watch tensors while a graph runs, batch by batch: what is kept of each is small, and merges."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import numpy as np
import onnx

from onnxq.channel_weights import ChannelWeights
from onnxq.execute import Session, real_samples, return_from
from onnxq.lean import Lean
from onnxq.reductions import HUGE, Outputs, every, makes_nan, reduce
from onnxq.samples import Batch, Samples
from onnxq.seen import Seen, joined
from onnxq.statistics import Count, TensorStatistics

if TYPE_CHECKING:
    from distributed import Client

BATCH_BYTES = 16 * 2**20  # of watched tensors at a time: enough to be fast, little enough to forget
LARGEST_BATCH = 32
WAITING = 4 * 2**20  # bytes of what was taken out of the model, which are looked at together
THREADS = 1  # of a session on a cluster: some sums depend on their number, and workers need not have as many


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
    """The extremes of a tensor, and how often it has which values; each counts with the weight of its channel, if there
    are ``weights``. ``nan``: it may well have NaN, so look for it."""

    tensor: str
    histogram: bool = True
    weights: ChannelWeights | None = None
    nan: bool = False

    def begin(self) -> Accumulator[TensorStatistics]:
        return Count(self.histogram, None if self.weights is None else self.weights.row)


Key = TypeVar("Key")


@dataclass(frozen=True)
class Begun:
    """What is known of the first ``done`` samples: the ``total`` of their shards, by watcher."""

    done: int
    total: Mapping[Any, Any]


def watch(
    model: onnx.ModelProto | Lean,
    watchers: Mapping[Key, Watcher[Any]],
    samples: Samples,
    *,
    batch: int | None = None,
    step: Callable[[int], None] = lambda done: None,
    cluster: "str | Client | None" = None,
    tell: Callable[[str], None] = lambda reason: None,
    begun: Begun | None = None,
    keep: Callable[[int, Mapping[Key, Any]], None] = lambda done, total: None,
) -> dict[Key, Any]:
    """What the ``watchers`` keep of all samples, in one pass, and in memory that does not grow with their number.

    Every shard of the samples is watched by itself, and what is kept of it is merged with what is kept of all before
    it: always in this order, so that sums of floats are the same wherever the shards were watched. ``batch=None``
    chooses the batch by the size of one sample's tensors. ``step`` is told how many samples are done. Of a
    ``cluster``, by its scheduler's address, the workers watch; ``tell`` is told what the user should know of them.
    What was ``begun`` is gone on with; ``keep`` is told the total so far after every shard.
    """
    run = Run(model if isinstance(model, Lean) else Lean.of(model), samples, batch, cluster, step, tell, keep)
    looking = _looking(watchers)
    first = looking if makes_nan(run.lean) else watchers
    kept = run.over(first, begun)
    if looking != first and any(isinstance(one, TensorStatistics) and one.reach > HUGE for one in kept.values()):
        return run.over(looking, None)
    return kept


@dataclass(frozen=True)
class Run(Generic[Key]):
    """A model over samples; see ``watch``."""

    lean: Lean
    samples: Samples
    batch: int | None
    cluster: "str | Client | None"
    step: Callable[[int], None]
    tell: Callable[[str], None]
    keep: Callable[[int, Mapping[Key, Any]], None]

    def over(self, watchers: Mapping[Key, Watcher[Any]], begun: Begun | None) -> dict[Key, Any]:
        """What the watchers keep; of the samples that are ``begun`` with, it is known."""
        if begun is not None and begun.done == self.samples.count:
            return dict(begun.total)
        total, rest = ({}, self.samples)
        if begun is not None:
            total, rest = dict(begun.total), self.samples.part(begun.done, sys.maxsize)
        watching = Watching(self.lean, watchers, None if self.cluster is None else THREADS)
        size, done = self.batch or watching.batch(rest), 0

        def stepped(count: int) -> None:
            nonlocal done
            done = count
            self.step(done)

        if self.cluster is None:
            shards = (watching.shard(batches, stepped) for batches in rest.shards(size))
            return folded(shards, total, lambda: self.keep(done, total))
        from onnxq.cluster.coordinator import spread

        with closing(spread(self.cluster, watching, rest, size, step=stepped, tell=self.tell)) as spread_out:
            return folded(spread_out, total, lambda: self.keep(done, total))  # closed at an error too


def _looking(watchers: Mapping[Key, Watcher[Any]]) -> dict[Key, Watcher[Any]]:
    """The same, looking for NaN."""
    return {key: replace(one, nan=True) if isinstance(one, Values) else one for key, one in watchers.items()}


class Watching(Generic[Key]):
    """A model that runs, and what is to be kept of its tensors: it watches one shard after another."""

    def __init__(self, lean: Lean, watchers: Mapping[Key, Watcher[Any]], threads: int | None = None) -> None:
        self.lean, self.watchers = lean, watchers
        watched, self._reduced = _reduced(lean.model, watchers)
        whole = {watcher.tensor for key, watcher in watchers.items() if key not in self._reduced}
        self._names = sorted({*whole, *every(self._reduced.values())})
        return_from(watched, self._names)
        self._session = Session(Lean(watched, lean.weights), threads=threads)
        # Inputs are the caller's arrays, which may hold other numbers when the next batch is read.
        given = {value.name for value in lean.model.graph.input}
        self._later = {key for key, one in watchers.items() if isinstance(one, Values) and one.tensor not in given}
        waiting = {watchers[key].tensor for key in self._later - self._reduced.keys()}
        self._waiting = sorted({*waiting, *every(self._reduced.values())})

    def batch(self, samples: Samples) -> int:
        """The largest whose watched tensors weigh little. It goes by sizes, not by the clock, so that it is the same
        every time and everywhere; larger ones take onnxruntime several times the memory, and hardly less time."""
        seen = self._seen(next(iter(samples.batches(1))))
        weight = seen.nbytes + sum(made.bytes for made in self._reduced.values())
        return max(1, min(LARGEST_BATCH, BATCH_BYTES // (weight or 1)))

    def shard(self, batches: Iterable[Batch], step: Callable[[int], None] = lambda done: None) -> dict[Key, Any]:
        """What is kept of one shard."""
        found = {key: watcher.begin() for key, watcher in self.watchers.items()}
        later = {key: one for key, one in found.items() if key in self._later}
        now = {key: one for key, one in found.items() if key not in later}
        with ThreadPoolExecutor(1) as beside:  # the next batches run while these are looked at, in their order
            looking: Future[None] | None = None
            waiting: list[Seen] = []
            for part in batches:
                seen = self._seen(part)
                self._show([seen], now)
                waiting.append(seen.only(self._waiting))
                if sum(one.nbytes for one in waiting) > WAITING:
                    if looking is not None:
                        looking.result()
                    looking, waiting = beside.submit(self._show, joined(waiting), later), []
                step(part.start + part.count)
            if looking is not None:
                looking.result()
        self._show(joined(waiting), later)
        return {key: accumulator.kept() for key, accumulator in found.items()}

    def digest(self, part: Batch) -> str:
        """Of the watched tensors' bytes: the same wherever they are computed alike to the last bit."""
        found = sha256()
        for array in self._seen(part).arrays.values():
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def _seen(self, part: Batch) -> Seen:
        made = {**part.feeds, **self._session.run(part.feeds)}
        arrays = {name: real_samples(made[name], part).astype(np.float32, copy=False) for name in self._names}
        return Seen(arrays, part.count)

    def _show(self, seen: Sequence[Seen], accumulators: Mapping[Key, Accumulator[Any]]) -> None:
        for one in seen:
            for key, accumulator in accumulators.items():
                made = self._reduced.get(key)
                tensor = self.watchers[key].tensor
                accumulator.add(one.arrays[tensor] if made is None else made.of(one.arrays), one.samples)


def _reduced(
    model: onnx.ModelProto, watchers: Mapping[Key, Watcher[Any]]
) -> tuple[onnx.ModelProto, dict[Key, Outputs]]:
    """A copy of the model, with nodes that reduce what only values are watched of; and what they make, by watcher."""
    alone = {key: watcher for key, watcher in watchers.items() if isinstance(watcher, Values)}
    whole = {watcher.tensor for key, watcher in watchers.items() if key not in alone}
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    wanted: dict[str, Values] = {}
    for watcher in alone.values():
        if watcher.tensor not in whole:
            same = wanted.get(watcher.tensor, watcher)
            histogram, nan = same.histogram or watcher.histogram, same.nan or watcher.nan
            wanted[watcher.tensor] = Values(watcher.tensor, histogram, nan=nan)
    made = reduce(extended, wanted.values())
    return extended, {key: made[watcher.tensor] for key, watcher in alone.items() if watcher.tensor in made}


def folded(
    shards: Iterable[dict[Key, Any]], total: dict[Key, Any], merged: Callable[[], None] = lambda: None
) -> dict[Key, Any]:
    """``total`` merged with what is kept of all ``shards``, from the first to the last; ``merged`` is called after
    each."""
    for found in shards:
        for key in list(found):  # one after the other, so that no third of anything is held for long
            kept = found.pop(key)
            total[key] = total[key].merge(kept) if key in total else kept
        merged()
    return total
