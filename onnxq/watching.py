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

from onnxq.at_once import cores, in_order
from onnxq.channel_weights import ChannelWeights
from onnxq.execute import Session, real_samples, return_from
from onnxq.inputs import batch_axis
from onnxq.lean import Lean
from onnxq.reductions import HUGE, Outputs, every, makes_nan, reduce, row_bytes
from onnxq.samples import Batch, Samples
from onnxq.seen import Seen, joined
from onnxq.statistics import Count, TensorStatistics

if TYPE_CHECKING:
    from distributed import Client

BATCH_BYTES = 16 * 2**20  # of watched tensors at a time: enough to be fast, little enough to forget
LARGEST_BATCH = 32
WAITING = 8 * 2**20  # bytes of what was taken out of the model, which are looked at together
AT_ONCE_BYTES = 2**28  # of what batches take that run at the same time
INSIDE = 4  # of tensors that are reduced inside the graph, one in so many is there at the same time


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
        watching, done = Watching(self.lean, watchers), 0
        pace = watching.pace(rest, self.batch)

        def stepped(count: int) -> None:
            nonlocal done
            done = count
            self.step(done)

        if self.cluster is None:
            if pace.at_once == 1 < cores():
                watching.with_all_cores()
            shards = (watching.shard(batches, pace.at_once, stepped) for batches in rest.shards(pace.batch))
            return folded(shards, total, lambda: self.keep(done, total))
        from onnxq.cluster.coordinator import spread

        with closing(spread(self.cluster, watching, rest, pace.batch, step=stepped, tell=self.tell)) as spread_out:
            return folded(spread_out, total, lambda: self.keep(done, total))  # closed at an error too


def _looking(watchers: Mapping[Key, Watcher[Any]]) -> dict[Key, Watcher[Any]]:
    """The same, looking for NaN."""
    return {key: replace(one, nan=True) if isinstance(one, Values) else one for key, one in watchers.items()}


@dataclass(frozen=True)
class Pace:
    """How many samples are in a batch, and how many batches run at the same time."""

    batch: int
    at_once: int


class Watching(Generic[Key]):
    """A model that runs, and what is to be kept of its tensors: it watches one shard after another.

    A run has one thread, since some sums depend on the number of threads; so several batches run at once, each on a
    core of its own, which is faster too. Only where samples are so large that two have no room, one has all cores.
    """

    def __init__(self, lean: Lean, watchers: Mapping[Key, Watcher[Any]]) -> None:
        self.lean, self.watchers = lean, watchers
        watched, self._reduced = _reduced(lean.model, watchers)
        whole = {watcher.tensor for key, watcher in watchers.items() if key not in self._reduced}
        self._names = sorted({*whole, *every(self._reduced.values())})
        return_from(watched, self._names)
        self._watched = Lean(watched, lean.weights)
        self._session = Session(self._watched, threads=1)
        self._threads = ThreadPoolExecutor(cores() + 1)  # it starts those that it needs
        values = {key: watcher.tensor for key, watcher in watchers.items() if isinstance(watcher, Values)}
        whole = {tensor for key, tensor in values.items() if key not in self._reduced}
        self._of_values = sorted({*whole, *every(self._reduced.values())})

    def pace(self, samples: Samples, batch: int | None = None) -> Pace:
        """The largest batch whose watched tensors weigh little, unless it is given, and as many of them at once as
        there are cores and there is room for. A batch goes by sizes, not by the clock or the cores, so that it is the
        same every time and everywhere; larger ones take several times the memory, and hardly less time."""
        outside, inside = self._outside(samples), sum(made.bytes for made in self._reduced.values())
        batch = batch or max(1, min(LARGEST_BATCH, BATCH_BYTES // (outside + inside or 1)))
        batch = batch_axis(samples.inputs).fixed or batch
        room = AT_ONCE_BYTES // (batch * (outside + inside // INSIDE) or 1)
        return Pace(batch, max(1, min(cores(), room)))

    def _outside(self, samples: Samples) -> int:
        """Bytes that leave the model with a sample: by their shapes, where these are known, else one is run."""
        whole = [watcher.tensor for key, watcher in self.watchers.items() if key not in self._reduced]
        known = row_bytes(self.lean.model.graph, whole)
        if known is None:
            return self._seen(next(iter(samples.batches(1)))).nbytes
        return known + sum(made.outside for made in self._reduced.values())

    def with_all_cores(self) -> None:
        """Every run has all of them."""
        self._session = Session(self._watched)

    def shard(
        self, batches: Iterable[Batch], at_once: int = 1, step: Callable[[int], None] = lambda done: None
    ) -> dict[Key, Any]:
        """What is kept of one shard."""
        found = {key: watcher.begin() for key, watcher in self.watchers.items()}
        looking: Future[None] | None = None  # the next batches run while some are looked at, in their order
        waiting: list[Seen] = []
        for stop, seen in in_order(self._run, map(_own, batches), at_once, self._threads):
            waiting.append(seen)
            if sum(one.nbytes for one in waiting) > WAITING:
                if looking is not None:
                    looking.result()
                looking, waiting = self._threads.submit(self._show, waiting, found), []
            step(stop)
        if looking is not None:
            looking.result()
        self._show(waiting, found)
        return {key: accumulator.kept() for key, accumulator in found.items()}

    def digest(self, part: Batch) -> str:
        """Of the watched tensors' bytes: the same wherever they are computed alike to the last bit."""
        found = sha256()
        for array in self._seen(part).arrays.values():
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def _run(self, part: Batch) -> tuple[int, Seen]:
        return part.start + part.count, self._seen(part)

    def _seen(self, part: Batch) -> Seen:
        made = {**part.feeds, **self._session.run(part.feeds)}
        arrays = {name: real_samples(made[name], part).astype(np.float32, copy=False) for name in self._names}
        return Seen(arrays, part.count)

    def _show(self, waiting: Sequence[Seen], accumulators: Mapping[Key, Accumulator[Any]]) -> None:
        together = joined([one.only(self._of_values) for one in waiting])
        for key, accumulator in accumulators.items():
            watcher, made = self.watchers[key], self._reduced.get(key)
            for one in together if isinstance(watcher, Values) else waiting:
                accumulator.add(one.arrays[watcher.tensor] if made is None else made.of(one.arrays), one.samples)


def _own(part: Batch) -> Batch:
    """The arrays are the caller's, and may hold other numbers when the next batch is read."""
    return replace(part, feeds={name: array.copy() for name, array in part.feeds.items()})


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
