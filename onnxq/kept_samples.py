"""Samples of inner activations, cut small: a window of every image, some rows of everything else."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from onnxq.execute import Session, real_samples, returning
from onnxq.workspace import Workspace

Array = NDArray[np.float32]
KEPT = 2**16  # numbers of one tensor, over all samples
SPREAD = (0.618034, 0.754878, 0.819173)  # steps that spread windows evenly along 1, 2 and 3 axes


Window = tuple[int, ...]
"""The least sizes of a window of images [n, c, ...]."""


def keep(workspace: Workspace, cuts: Mapping[str, Window | None], samples: int) -> dict[str, Array]:
    """Of every tensor in ``cuts`` about ``KEPT`` numbers, from the first ``samples``: windows of it, or without a
    window rows [n, c] of what has its channels on the last axis."""
    if not cuts:
        return {}
    session = Session(returning(workspace.model(), cuts))
    given = workspace.samples.take(samples)
    share = KEPT // min(samples, given.count or samples)
    kept: dict[str, list[Array]] = {name: [] for name in cuts}
    for batch in given.batches(1):
        seen = {**batch.feeds, **session.run(batch.feeds)}
        for name, cut in cuts.items():
            array = real_samples(seen[name], batch).astype(np.float32, copy=False)
            room = share * max(batch.count, 1)
            kept[name].append(_rows(array, room) if cut is None else _window(array, cut, batch.start, room))
    # Images may differ in size from sample to sample: those are kept whose windows do not.
    return {
        name: np.concatenate([part for part in parts if part.shape[1:] == parts[0].shape[1:]])
        for name, parts in kept.items()
    }


def _rows(array: Array, room: int) -> Array:
    """Some rows, evenly spread."""
    rows = array.reshape(-1, array.shape[-1])
    count = max(1, min(len(rows), room // rows.shape[1]))
    return np.ascontiguousarray(rows[np.linspace(0, len(rows) - 1, count).astype(np.intp)])


def _window(array: Array, least: Sequence[int], turn: int, room: int) -> Array:
    """A window of every image, elsewhere at every ``turn``."""
    side = int((room / max(array.shape[0] * array.shape[1], 1)) ** (1 / len(least)))
    cut = [slice(None), slice(None)]
    for size, smallest, step in zip(array.shape[2:], least, SPREAD, strict=False):
        length = min(size, max(side, smallest))
        start = int((turn + 1) * step % 1 * (size - length + 1))
        cut.append(slice(start, start + length))
    return np.ascontiguousarray(array[tuple(cut)])
