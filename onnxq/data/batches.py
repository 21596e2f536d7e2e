"""Batches, and how pieces of data of any length are joined and cut into them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np

from onnxq.errors import DataError
from onnxq.inputs import Array

LARGEST = 4 << 30  # bytes of a batch that is filled up


@dataclass(frozen=True, eq=False)
class Batch:
    """What the model is fed in one run.

    ``count`` samples of it are real, numbered from ``start``; rows after these only fill a batch of fixed
    size, unless it is one sample ``alone``, all of whose rows are real. ``labels`` is ``[count, ...]``.
    """

    feeds: dict[str, Array]
    labels: Array | None
    count: int
    start: int
    alone: bool = False


@dataclass(frozen=True)
class Piece:
    """Checked data on its way into batches; ``whole`` is a feed that goes to the model just as it is."""

    batch: Batch
    whole: bool


def rebatch(pieces: Iterable[Piece], size: int, fill: bool) -> Iterator[Batch]:
    """Batches of ``size`` samples from pieces of any length.

    The last one may be shorter, and so may one before a change of shape; with ``fill`` these repeat their
    last sample.
    """
    waiting: list[Batch] = []
    for piece in pieces:
        if waiting and (piece.whole or _shapes(piece.batch) != _shapes(waiting[0])):
            yield _filled(_joined(waiting), size if fill else 0)
            waiting = []
        if piece.whole:
            yield piece.batch
            continue
        waiting.append(piece.batch)
        if sum(batch.count for batch in waiting) >= size:
            full, waiting = _cut(_joined(waiting), size)
            yield from full
    if waiting:
        yield _filled(_joined(waiting), size if fill else 0)


def by_shard(pieces: Iterable[Piece], shard: int) -> Iterator[Iterator[Piece]]:
    """The pieces of every ``shard`` samples by themselves; a whole feed goes where its first sample does."""
    for _, together in groupby(_cut_at(shard, pieces), lambda piece: piece.batch.start // shard):
        yield together


def within(pieces: Iterable[Piece], start: int, stop: int) -> Iterator[Piece]:
    """What lies among samples ``start`` to ``stop``; a whole feed does if its first sample does."""
    for piece in pieces:
        batch = piece.batch
        if batch.start >= stop:
            return
        first, end = max(start - batch.start, 0), min(stop - batch.start, batch.count)
        if piece.whole and first == 0:
            yield piece
        elif not piece.whole and first < end:
            yield Piece(part(batch, first, end), False)


def _cut_at(shard: int, pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The pieces, none of which reaches over a multiple of ``shard`` unless it is whole."""
    for piece in pieces:
        batch = piece.batch
        if piece.whole:
            yield piece
            continue
        inner = range(-batch.start % shard or shard, batch.count, shard)
        for first, end in pairwise([0, *inner, batch.count]):
            yield Piece(part(batch, first, end), False)


def _cut(batch: Batch, size: int) -> tuple[list[Batch], list[Batch]]:
    """As many batches of exactly ``size`` as there are, and what is left."""
    parts = [part(batch, start, start + size) for start in range(0, batch.count, size)]
    return (parts, []) if batch.count % size == 0 else (parts[:-1], parts[-1:])


def part(batch: Batch, first: int, end: int) -> Batch:
    """Samples ``first`` to ``end`` of a batch whose axis 0 counts samples."""
    feeds = {name: array[first:end] for name, array in batch.feeds.items()}
    labels = None if batch.labels is None else batch.labels[first:end]
    return Batch(feeds, labels, min(end, batch.count) - first, batch.start + first)


def _joined(batches: list[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    first = batches[0]
    feeds = {name: np.concatenate([batch.feeds[name] for batch in batches]) for name in first.feeds}
    labels = [batch.labels for batch in batches if batch.labels is not None]
    count = sum(batch.count for batch in batches)
    return Batch(feeds, np.concatenate(labels) if labels else None, count, first.start)


def _filled(batch: Batch, size: int) -> Batch:
    missing = size - batch.count
    if missing <= 0:
        return batch
    room = sum(array.nbytes // max(len(array), 1) for array in batch.feeds.values()) * size
    if room > LARGEST:
        raise DataError(
            f"the model has a fixed batch of {size:,} samples, which take {room / 2**30:.0f} GiB; the limit is "
            f"{LARGEST / 2**30:.0f} GiB. Export it with a smaller batch, or a free one."
        )
    feeds = {name: np.concatenate([x, np.repeat(x[-1:], missing, 0)]) for name, x in batch.feeds.items()}
    return Batch(feeds, batch.labels, batch.count, batch.start)


def _shapes(batch: Batch) -> list[tuple[int, ...]]:
    return [array.shape[1:] for array in batch.feeds.values()]
