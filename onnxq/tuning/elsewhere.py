"""Try the candidates of a round on the workers of a Dask cluster, side by side."""

import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from onnxq.cluster.parcel import packed, unpacked
from onnxq.cluster.waiter import Waiter
from onnxq.tuning.candidate import Candidate
from onnxq.tuning.counterexamples import Counterexamples
from onnxq.tuning.trials import Task, Trials, Tried

if TYPE_CHECKING:
    from distributed import Client

ADVICE = "Give workers more memory, or search without --cluster."

_lock = threading.Lock()  # the threads of a worker take turns: a trial takes all cores
_begun: dict[bytes, Trials] = {}  # of the latest task of this worker, so that it is begun once


class Elsewhere:
    """Tries on the workers of ``client``; all candidates of a round are sent at once."""

    def __init__(self, client: "Client", task: Task) -> None:
        self._client, self._task = client, packed(task)

    def __call__(self, candidates: Sequence[Candidate], known: Counterexamples) -> Iterator[Tried]:
        """Raises ClusterError, and whatever a worker raises of onnxq's own errors."""
        waiter, kept = Waiter(self._client), packed(known)
        futures = self._client.map(
            partial(try_there, self._task, kept), [packed(one) for one in candidates], pure=False
        )
        try:
            for one, future in zip(candidates, futures, strict=True):
                tried: Tried = unpacked(waiter.result(future, f"candidate {one.said!r}", ADVICE))
                yield tried
        finally:
            self._client.cancel(futures)  # nobody waits for the rest


def try_there(task: bytes, known: bytes, candidate: bytes) -> bytes:
    """A task of the cluster."""
    with _lock:
        if task not in _begun:
            _begun.clear()
            _begun[task] = Trials(unpacked(task))
        return packed(_begun[task](unpacked(candidate), unpacked(known)))
