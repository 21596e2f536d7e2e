"""Sources of data that is arrays already: named arrays, calls that give some, and several in a row."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from onnxq.data.arrays import Rows
from onnxq.data.chunks import BLOCK, ROWS, Chunk, Source, common_count
from onnxq.errors import DataError
from onnxq.inputs import Array, InputSpec

Feed: TypeAlias = Mapping[str, Array]
Fed: TypeAlias = Feed | tuple[Feed, Array | None]
LABELS = "labels"


@dataclass(frozen=True)
class Arrays:
    """Named arrays of one length, read a block of rows at a time."""

    where: str
    arrays: Mapping[str, Rows]
    labelled: bool
    count: int

    @property
    def description(self) -> str:
        return Path(self.where).name

    def chunks(self) -> Iterator[Chunk]:
        widest = max(math.prod(rows.shape[1:]) * rows.dtype.itemsize for rows in self.arrays.values())
        step = max(1, min(ROWS, BLOCK // max(widest, 1)))
        for blocks in zip(*(rows.blocks(step) for rows in self.arrays.values()), strict=True):
            arrays = dict(zip(self.arrays, blocks, strict=True))
            yield Chunk(self.where, arrays, arrays.pop(LABELS) if self.labelled else None)

    def part(self, start: int, stop: int) -> "Arrays":
        parts = {name: rows.part(start, stop) for name, rows in self.arrays.items()}
        return replace(self, arrays=parts, count=stop - start)


def arrays_source(where: str, arrays: Mapping[str, Rows], inputs: Sequence[InputSpec]) -> Arrays:
    """Named arrays; ``labels`` are the true answers, unless the model has an input of that name.

    Raises DataError when the arrays are empty or of different lengths.
    """
    count = common_count(where, {name: rows.shape for name, rows in arrays.items()})
    if count == 0:
        raise DataError(f"{where}: holds 0 samples. Give at least one.")
    labelled = LABELS in arrays and all(spec.name != LABELS for spec in inputs)
    return Arrays(where, arrays, labelled, count)


def single(where: str, rows: Rows, inputs: tuple[InputSpec, ...]) -> dict[str, Rows]:
    """One array under the name of the only input. Raises DataError when there are more inputs."""
    if len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs)
        raise DataError(
            f"{where}: is one array and the model has {len(inputs)} inputs: {names}. "
            "Give an .npz, or a mapping, with one array for each."
        )
    return {inputs[0].name: rows}


@dataclass(frozen=True)
class Calls:
    """Feeds, or pairs of feeds and labels, from a function that is called anew for each reading."""

    where: str
    function: Callable[[], Iterable[Fed]]
    count: int | None = None
    labelled: bool | None = None

    @property
    def description(self) -> str:
        return Path(self.where).name

    def chunks(self) -> Iterator[Chunk]:
        feeds = self.function()
        if not isinstance(feeds, Iterable):
            raise DataError(f"{self.where}: gave a {type(feeds).__name__}; yield or return feeds.")
        for given in feeds:
            feed, labels = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
            if not isinstance(feed, Mapping):
                raise DataError(
                    f"{self.where}: gave a {type(feed).__name__}; a dict of arrays by input, "
                    "or a pair of that and labels, is wanted."
                )
            arrays = {name: as_array(self.where, name, value) for name, value in feed.items()}
            truth = None if labels is None else as_array(self.where, LABELS, labels)
            yield Chunk(self.where, arrays, truth)

    def part(self, start: int, stop: int) -> None:
        """What a function gives is known only when it has given all before it."""


def as_array(where: str, name: str, value: object) -> Array:
    """``value`` as an array of numbers. Raises DataError when it is none."""
    try:
        array: Array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"{where}: {name!r} is not an array: {str(error).rstrip('.')}.") from error
    if array.dtype.kind in "OUSM":
        raise DataError(f"{where}: {name!r} is not an array of numbers but of {array.dtype}.")
    return array


@dataclass(frozen=True)
class Joined:
    """Several sources, one after the other."""

    description: str
    sources: tuple[Source, ...]

    @property
    def count(self) -> int | None:
        counts = [source.count for source in self.sources]
        return sum(count for count in counts if count is not None) if None not in counts else None

    @property
    def labelled(self) -> bool:
        return all(source.labelled for source in self.sources)

    def chunks(self) -> Iterator[Chunk]:
        for source in self.sources:
            yield from source.chunks()

    def part(self, start: int, stop: int) -> "Joined | None":
        found: list[Source | None] = []
        for source in self.sources:
            if (count := source.count) is None:
                return None
            if start < count and stop > 0:
                found.append(source.part(max(start, 0), min(stop, count)))
            start, stop = start - count, stop - count
        parts = tuple(source for source in found if source is not None)
        return replace(self, sources=parts) if len(parts) == len(found) else None
