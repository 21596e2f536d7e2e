"""Where calibration and test data come from: one door for files, folders, scripts and Python values.

    open_samples("calibration.npz", input_specs(model)).batches(32)

Data is read a little at a time, as often as asked, and every batch is checked before the model sees it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from onnxq.data.arrays import Held
from onnxq.data.batches import Batch, Piece, by_shard, rebatch, within
from onnxq.data.chunks import Chunk, Source
from onnxq.data.feeds import pieces
from onnxq.data.random_data import random_source
from onnxq.data.register import Register
from onnxq.data.sources import Calls, Fed, arrays_source, as_array, single
from onnxq.data.stored import ACCEPTED, stored_source
from onnxq.errors import DataError
from onnxq.inputs import Array, InputSpec, batch_axis, input_specs
from onnxq.preprocess import Preprocessing

__all__ = ["SHARD", "Batch", "Data", "InputSpec", "Samples", "input_specs", "open_samples"]

SHARD = 64  # samples: enough for what is done once a shard to cost little, few enough to occupy many workers
T = TypeVar("T")


@dataclass(frozen=True)
class Samples:
    """Data that fits a model's inputs; nothing is read before ``batches``.

    The first sample of ``source`` is number ``begin`` of all the data there is. The first ``limit`` of its samples are
    meant, and with a ``span`` only those from its first number up to its second. What is read of all of them is taken
    down in the ``register``, if there is one.
    """

    source: Source
    inputs: tuple[InputSpec, ...]
    preprocessing: Preprocessing | None = None
    limit: int | None = None
    begin: int = 0
    span: tuple[int, int] | None = None
    register: Register | None = field(default=None, compare=False)

    @property
    def count(self) -> int | None:
        """The number of samples; None where only reading would tell."""
        known = self.source.count
        if known is not None and self.span is not None:
            return self.span[1] - self.span[0]
        return known if known is None or self.limit is None else min(known, self.limit)

    @property
    def shard(self) -> int:
        """The number of samples in a shard: as many for any batch, but whole batches where the model fixes theirs."""
        fixed = batch_axis(self.inputs).fixed or 1
        return -(-SHARD // fixed) * fixed

    @property
    def labels_known(self) -> bool | None:
        """Whether batches carry labels; None where only reading would tell."""
        return self.source.labelled

    @property
    def description(self) -> str:
        """For reports: ``calibration.npz, the first 256 of 512 samples``."""
        known = self.source.count
        if known is None:
            said = "read when needed" + (f", at most {self.limit} samples" if self.limit else "")
        elif self.limit is not None and self.limit < known:
            said = f"the first {self.limit} of {known} samples"
        else:
            said = "1 sample" if known == 1 else f"{known} samples"
        return f"{self.source.description}, {said}"

    def take(self, n: int) -> "Samples":
        """The first ``n`` samples, or all where there are fewer. Raises DataError when ``n`` is below 1."""
        if n < 1:
            raise DataError(f"{n} samples asked for (--samples, limit=); at least 1 is needed.")
        if self.span is not None:
            return self.part(self.span[0], self.span[0] + n)
        return replace(self, limit=n if self.limit is None else min(n, self.limit), register=None)

    def part(self, start: int, stop: int) -> "Samples":
        """Samples ``start`` to ``stop``, as far as there are such; they keep their numbers.

        Its source has no others where that can be: then ``span`` is None, and nothing before ``start`` is read.
        """
        first, *ends = self.span or (self.begin,)
        ends += [self.begin + n for n in (self.limit, self.source.count) if n is not None]
        end = min([stop, *ends])
        first = min(max(first, start), end)
        source = self.source.part(first - self.begin, end - self.begin)
        if source is None:
            return replace(self, span=(first, end), register=None)
        return replace(self, source=source, begin=first, limit=None, register=None)

    def batches(self, size: int | None = None) -> Iterator[Batch]:
        """The samples in order, ``size`` (1 by default) at a time, from the first at every call.

        A model of fixed batch size gets batches of that size, the last one filled; feeds that are whole by
        themselves come one by one. Raises DataError when the data does not fit, is not finite, or is empty.
        """
        yield from self._some(self._rebatch(self._pieces(), size))

    def shards(self, size: int | None = None) -> Iterator[Iterator[Batch]]:
        """The batches of one shard after another, as those of ``part`` for each shard would be, but read once.

        A shard is to be gone through before the next is asked for. Raises as ``batches`` does.
        """
        yield from self._some(self._rebatch(some, size) for some in by_shard(self._pieces(), self.shard))

    def _rebatch(self, some: Iterable[Piece], size: int | None) -> Iterator[Batch]:
        if size is not None and size < 1:
            raise DataError(f"a batch size of {size} was asked for; at least 1 is needed.")
        fixed = batch_axis(self.inputs).fixed
        batches = rebatch(some, fixed or size or 1, fill=fixed is not None)
        return batches if self.register is None else self.register.heard(batches)

    def _some(self, given: Iterable[T]) -> Iterator[T]:
        empty = True
        for one in given:
            empty = False
            yield one
        if empty:
            raise DataError(f"{self.source.description}: gave 0 samples. Give at least one.")
        if self.register is not None:
            self.register.whole = True

    def _pieces(self) -> Iterator[Piece]:
        return self._fitting() if self.span is None else within(self._fitting(), *self.span)

    def _fitting(self) -> Iterator[Piece]:
        start, labelled = self.begin, self.source.labelled
        for chunk in self.source.chunks():
            some = chunk if self.limit is None else chunk.first(self.begin + self.limit - start)
            labelled = _agreed(some, labelled)
            yield from pieces(some, self.inputs, self.preprocessing, start)
            start += some.count
            if self.limit is not None and start == self.begin + self.limit:
                return


Data: TypeAlias = str | Path | Samples | Array | Mapping[str, ArrayLike] | Iterable[Fed] | Callable[[], Iterable[Fed]]


def open_samples(
    source: Data,
    inputs: Sequence[InputSpec],
    *,
    preprocessing: Preprocessing | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Samples:
    """Samples from a path, a word or a Python value.

    ``source`` is an ``.npz`` (arrays named as the inputs, with optional ``labels``; uint8 ``[n, h, w, c]``
    under ``images`` or the input's name with a ``preprocessing``), an ``.npy``, Polygraphy's saved inputs, a
    folder of such files or of images, ``script.py:function``, ``random`` (drawn from ``seed``), an array, a
    mapping of arrays, a list of feeds, or a function that gives feeds. Axis 0 counts samples; an array of one
    rank more than its input holds whole feeds. ``limit`` keeps the first samples only.

    Raises DataError, or RecipeError for a preprocessing that names no input.
    """
    specs = tuple(inputs)
    if isinstance(source, Samples):
        samples = replace(source, inputs=specs, preprocessing=preprocessing or source.preprocessing)
    elif isinstance(source, str) and source == "random":
        samples = Samples(random_source(specs, limit, seed), specs)
    elif isinstance(source, (str, Path)):
        try:
            samples = Samples(stored_source(source, specs, preprocessing), specs, preprocessing)
        except OSError as error:
            raise DataError(f"{source}: cannot be read: {error.strerror}.") from error
    else:
        samples = Samples(_value(source, specs), specs, preprocessing)
    return samples if limit is None else samples.take(limit)


def _value(
    value: Array | Mapping[str, ArrayLike] | Iterable[Fed] | Callable[[], Iterable[Fed]],
    inputs: tuple[InputSpec, ...],
) -> Source:
    """A source for a Python value."""
    if isinstance(value, np.ndarray):
        return arrays_source("the array", single("the array", Held(value), inputs), inputs)
    if isinstance(value, Mapping):
        arrays = {name: Held(as_array("the arrays", name, array)) for name, array in value.items()}
        return arrays_source("the arrays", arrays, inputs)
    if callable(value):
        return Calls(f"{getattr(value, '__name__', 'the function')}()", value)
    if isinstance(value, Iterator):
        raise DataError(
            "a generator can be read only once, and data is read several times. "
            "Give the function that makes it, without calling it."
        )
    if not isinstance(value, Iterable):
        raise DataError(
            f"a {type(value).__name__} is not data. Besides an array, a mapping of arrays, a list "
            f"of feeds and a function, give {ACCEPTED}."
        )
    return Calls("the feeds", lambda: value)


def _agreed(chunk: Chunk, labelled: bool | None) -> bool:
    """Whether there are labels; a stream that has them has them in every chunk."""
    here = chunk.labels is not None
    if labelled is not None and here != labelled:
        raise DataError(f"{chunk.where}: only some batches have labels. Give all of them labels, or none.")
    return here
