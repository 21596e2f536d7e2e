"""A few samples, held as batches, that weights and biases are chosen by; and others of them that judge the choice."""

from onnxq.data.batches import Batch
from onnxq.inputs import batch_axis
from onnxq.samples import Samples

LARGE_BYTES = 2**18  # a sample from which on they are run one by one
FEEDS_BYTES = 32 * 2**20  # of samples that are held; further ones are left out
FEWEST = 4  # batches that are held, however large they are
PARTS = 8  # batches there are at least, if there are as many samples


def few(samples: Samples, count: int, size: int) -> list[Batch]:
    """About ``count`` samples, ``size`` at a time; their number and the batches depend on the samples alone."""
    taken = samples.take(max(count, FEWEST * (batch_axis(samples.inputs).fixed or 1)))
    small = _bytes(next(iter(taken.batches(1)))) < LARGE_BYTES
    found: list[Batch] = []
    for batch in taken.batches(min(size if small else 1, max(1, (taken.count or count) // PARTS))):
        if len(found) >= FEWEST and sum(map(_bytes, found)) + _bytes(batch) > FEEDS_BYTES:
            break
        found.append(batch)
    return found


def _bytes(batch: Batch) -> int:
    return sum(array.nbytes for array in batch.feeds.values())
