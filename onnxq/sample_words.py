"""Which samples a model was fed: one short word for each, made of its numbers as they reach the model."""

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from onnxq.data.batches import Batch
from onnxq.samples import Samples

Words = NDArray[np.uint64]


def words(samples: Samples) -> Words:
    """One for each sample, in their order: of all inputs, after preprocessing."""
    found: list[int] = []
    for batch in samples.batches(1):
        found += [_word(batch, row) for row in range(batch.count)]
    return np.array(found, np.uint64)


def _word(batch: Batch, row: int) -> int:
    """Of a sample of a batch; feeds that are whole by themselves, or fill a batch up, are one."""
    found = blake2b(digest_size=8)
    for name in sorted(batch.feeds):
        array = batch.feeds[name]
        sample = array[row : row + 1] if array.ndim and len(array) >= batch.count > 1 else array
        found.update(f"{name} {sample.dtype} {sample.shape}".encode())
        found.update(np.ascontiguousarray(sample).tobytes())
    return int.from_bytes(found.digest(), "little")
