"""Cut samples into shards: parts that the workers read themselves if they can, or batches that were read here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from onnxq.cluster.parcel import packed, packed_with_paths
from onnxq.cluster.worker import File, sees
from onnxq.samples import Samples

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class Shard:
    """Samples from one number up to another: a packed part of them and the ``files`` it is read from, or batches."""

    start: int
    stop: int
    content: bytes
    files: tuple[File, ...] = ()


def shards(client: "Client", samples: Samples, batch: int, tell: Callable[[str], None]) -> Iterator[Shard]:
    """All shards in order, one at a time: arrays in memory and random numbers as parts, files too where all workers
    see what is seen here, everything else as batches. ``tell`` is told which file workers do not see."""
    borders = _borders(samples)
    if borders and (first := _part(samples, borders[0])) is not None:
        blind = _blind(client, first)
        if not blind:
            yield from (part for border in borders if (part := _part(samples, border)) is not None)
            return
        tell(
            f"{blind} of the workers do not see {first.files[0].path} as this process does, so samples are read here "
            "and sent; a folder that all of them see is faster"
        )
    for batches in samples.shards(batch):
        read = list(batches)
        yield Shard(read[0].start, read[-1].start + read[-1].count, packed(read))


def _borders(samples: Samples) -> list[tuple[int, int]]:
    """The first number of each shard and of the next; none where only reading would tell how many there are."""
    if samples.count is None:
        return []
    begin = samples.begin if samples.span is None else samples.span[0]
    end, shard = begin + samples.count, samples.shard
    return list(pairwise([begin, *range((begin // shard + 1) * shard, end, shard), end]))


def _part(samples: Samples, border: tuple[int, int]) -> Shard | None:
    """None where a part cannot be read without what is before it."""
    part = samples.part(*border)
    if part.span is not None:
        return None
    content, paths = packed_with_paths(part)
    files = [file for path in sorted(paths) if (file := File.of(path)) is not None]
    return Shard(*border, content, tuple(files))


def _blind(client: "Client", shard: Shard) -> int:
    """How many workers do not see its files as this process does."""
    if not shard.files:
        return 0
    return sum(not seen for seen in client.run(sees, shard.files).values())
