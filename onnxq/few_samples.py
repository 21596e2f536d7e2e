"""A few samples, held as batches, that weights and biases are chosen by; and others of them that judge the choice."""

from collections.abc import Mapping

from onnxq.data.batches import Batch
from onnxq.inputs import Array, batch_axis
from onnxq.samples import Samples

LARGE_BYTES = 2**18  # a sample from which on they are run one by one
HELD_BYTES = 32 * 2**20  # of samples; further ones are left out
FEWEST = 4  # batches that are held, however large they are
PARTS = 8  # batches there are at least, if there are as many samples


def few(samples: Samples, count: int, size: int, limit: int = HELD_BYTES) -> list[Batch]:
    """About ``count`` samples, ``size`` at a time, of at most ``limit`` bytes; what they are depends on the samples
    alone."""
    taken = samples.take(max(count, FEWEST * (batch_axis(samples.inputs).fixed or 1)))
    small = feed_bytes(next(iter(taken.batches(1))).feeds) < LARGE_BYTES
    found: list[Batch] = []
    for batch in taken.batches(min(size if small else 1, max(1, (taken.count or count) // PARTS))):
        if len(found) >= FEWEST and sum(feed_bytes(one.feeds) for one in (*found, batch)) > limit:
            break
        found.append(batch)
    return found


def feed_bytes(tensors: Mapping[str, Array]) -> int:
    """Of all of them."""
    return sum(array.nbytes for array in tensors.values())
