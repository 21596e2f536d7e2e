"""What a source of data gives, a chunk at a time, before it is known to fit the model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from onnxq.errors import DataError
from onnxq.inputs import Array, described

ROWS = 64
BLOCK = 1 << 20  # bytes; what is read of each array at a time stays below this, or is one row


@dataclass(frozen=True, eq=False)
class Chunk:
    """Arrays by name whose axis 0 counts samples, and where they are from.

    With ``worth`` set the arrays are one feed that goes to the model whole, and count as that many samples.
    """

    where: str
    arrays: Mapping[str, Array]
    labels: Array | None = None
    worth: int | None = None

    @property
    def count(self) -> int:
        """The number of samples. Raises DataError when the arrays disagree about it."""
        counted = {**self.arrays} if self.labels is None else {**self.arrays, "labels": self.labels}
        return self.worth or common_count(self.where, {name: array.shape for name, array in counted.items()})

    def first(self, n: int) -> "Chunk":
        """The first ``n`` samples; of a whole feed only the count shrinks."""
        if n >= self.count:
            return self
        if self.worth:
            return replace(self, worth=n)
        arrays = {name: array[:n] for name, array in self.arrays.items()}
        return replace(self, arrays=arrays, labels=None if self.labels is None else self.labels[:n])


class Source(Protocol):
    """Where data comes from; ``count`` and ``labelled`` are None until the data is read."""

    @property
    def description(self) -> str:
        """The name of the file or folder, without its path, which differs from machine to machine."""

    @property
    def count(self) -> int | None: ...

    @property
    def labelled(self) -> bool | None: ...

    def chunks(self) -> Iterator[Chunk]:
        """All the data, from the start at every call."""

    def part(self, start: int, stop: int) -> "Source | None":
        """Samples ``start`` to ``stop`` alone, without reading those before them; None where that cannot be done."""


def common_count(where: str, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The length of axis 0, the same for all arrays. Raises DataError that names those that differ."""
    counts = {name: shape[0] for name, shape in shapes.items() if shape}
    for name in shapes:
        if name not in counts:
            raise DataError(
                f"{where}: array {name!r} is a single number; axis 0 must count the samples. Give one value a sample."
            )
    if not counts:
        raise DataError(f"{where}: holds no arrays. Name one after each input of the model.")
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[least] != counts[most]:
        raise DataError(
            f"{where}: {least!r} has {counts[least]} samples and {most!r} has {counts[most]}; "
            "axis 0 must be equally long in all arrays."
        )
    return counts[most]


def word(array: Array) -> str:
    """An array's dtype and shape, as ``float32[3,416,416]``."""
    return described(array.dtype, array.shape)
