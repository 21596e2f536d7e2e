"""What was measured before is not measured again; what is measured is written down, and now and then saved."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import onnx

from onnxq.computation import computations
from onnxq.measured import Measured
from onnxq.statistics import TensorStatistics
from onnxq.watching import Begun, Values

SECONDS = 10.0  # between two times that what is not finished is saved


@dataclass
class Record:
    """What is known from one data set, and becomes known.

    ``everything``: all that any calibrator may ask of a tensor is measured, not what one of them does. ``save`` is
    handed what is known as a run goes on, so that an interrupted one can be resumed; where the record is ``cached``,
    in the end too.
    """

    measured: Measured
    everything: bool = False
    save: Callable[[Measured], None] | None = None
    cached: bool = False
    saved: float = field(default_factory=time.monotonic)
    news: bool = False

    def keep(self) -> None:
        """What was measured in this run, if anything, goes to the cache, if there is one."""
        if self.cached and self.save is not None and self.news:
            self.save(self.measured)
            self.news = False

    def page(self, model: onnx.ModelProto, watchers: Mapping[Any, Any]) -> "Page":
        """For those that watch values of tensors of ``model``: statistics are kept, second moments are too large."""
        known = computations(model)
        values = {key: one for key, one in watchers.items() if isinstance(one, Values)}
        return Page(self, values, {key: f"{known[one.tensor]}{_weighed(one)}" for key, one in values.items()})


@dataclass(frozen=True)
class Page:
    """The part of a record that some watchers ask for, each by the word of what it watches."""

    record: Record
    watchers: Mapping[Any, Values]
    words: Mapping[Any, str]

    def of(self, keys: Collection[Any]) -> "Page":
        """For some of the watchers."""
        words = {key: word for key, word in self.words.items() if key in keys}
        return Page(self.record, {key: self.watchers[key] for key in words}, words)

    def known(self) -> dict[Any, TensorStatistics]:
        """What needs not be measured."""
        table = self.record.measured.known
        found = {key: table[word] for key, word in self.words.items() if word in table}
        return {key: one for key, one in found.items() if one.counts is not None or not self.watchers[key].histogram}

    def begun(self) -> Begun | None:
        """How far an interrupted run came that was after the same."""
        measured = self.record.measured
        if not measured.begun or set(self.words.values()) != measured.begun.keys():
            return None
        return Begun(measured.done, {key: measured.begun[word] for key, word in self.words.items()})

    def keep(self, done: int, total: Mapping[Any, Any]) -> None:
        """A run knows so much of so many samples."""
        record = self.record
        if record.save is not None and total.keys() == self.words.keys() and time.monotonic() - record.saved > SECONDS:
            table = {word: total[key] for key, word in self.words.items()}
            record.save(replace(record.measured, begun=table, done=done))
            record.saved = time.monotonic()

    def add(self, found: Mapping[Any, Any]) -> None:
        """What came of a run."""
        table = {word: found[key] for key, word in self.words.items() if key in found}
        measured = self.record.measured
        self.record.measured = replace(measured, known={**measured.known, **table}, begun={}, done=0)
        self.record.news = True


def _weighed(watcher: Values) -> str:
    return "" if watcher.weights is None else f" by {watcher.weights.word}"
