"""Which samples a model was fed: one short word for each, made of its numbers as they reach the model.

Data may be slow to read, so the words are taken down while something else reads all of it.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from onnxq.data.batches import Batch

Words = NDArray[np.uint64]


class Register:
    """The words of samples, in their order. ``whole``: whether all have been read."""

    def __init__(self) -> None:
        self._known: list[int] = []
        self.whole = False

    def heard(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches, whose samples are taken down where they come next."""
        for batch in batches:
            if not self.whole and batch.start <= len(self._known) < batch.start + batch.count:
                rows = range(len(self._known) - batch.start, batch.count)
                self._known += [_word(batch, row) for row in rows]
            yield batch

    @property
    def words(self) -> Words:
        """Of all that were read."""
        return np.array(self._known, np.uint64)


def _word(batch: Batch, row: int) -> int:
    """Of a sample of a batch; feeds that are whole by themselves, or fill a batch up, are one."""
    found = blake2b(digest_size=8)
    for name in sorted(batch.feeds):
        array = batch.feeds[name]
        sample = array[row : row + 1] if array.ndim and len(array) >= batch.count > 1 else array
        found.update(f"{name} {sample.dtype} {sample.shape}".encode())
        found.update(np.ascontiguousarray(sample).tobytes())
    return int.from_bytes(found.digest(), "little")
