"""Shards on their way through a cluster, some at a time, that come back in the order in which they were sent."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxq.cluster.parcel import unpacked
from onnxq.cluster.shards import Shard
from onnxq.cluster.waiter import Waiter
from onnxq.cluster.worker import Watched, watch_shard

if TYPE_CHECKING:
    from distributed import Client, Future

AHEAD = 4  # shards for each thread of the workers, so that none waits for the one whose turn it is
IN_FLIGHT = 2**30  # bytes of samples, where workers do not read them themselves
ADVICE = "Give workers more memory, choose a smaller --batch, or leave these out."


@dataclass(frozen=True)
class Parcel:
    """A shard on its way: the numbers of its samples, its weight in bytes, and what will come of it."""

    start: int
    stop: int
    weight: int
    future: "Future[bytes]"


class Line:
    """Parcels that are watched at the station of that name, on whatever worker."""

    def __init__(self, client: "Client", station: str) -> None:
        self._client, self._station, self._waiter = client, station, Waiter(client)
        self._waiting: deque[Parcel] = deque()

    def through(self, shards: Iterable[Shard]) -> Iterator[tuple[Parcel, Watched]]:
        """What came of each, in order. Raises ClusterError, and whatever a worker raises of onnxq's own errors."""
        for shard in shards:
            self._send(shard)
            while self._full():
                yield self._take()
        while self._waiting:
            yield self._take()

    def stop(self) -> None:
        """Nobody waits for the rest."""
        with suppress(Exception):  # Dask raises many, where the scheduler is gone; what led here says so
            self._client.cancel([parcel.future for parcel in self._waiting])

    def _send(self, shard: Shard) -> None:
        import dask

        key = f"{self._station}-{shard.start}"
        # The samples are to be with the scheduler, which outlives the workers; they are as large as they are.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": f"{IN_FLIGHT}B"}):
            try:
                future = self._client.submit(
                    watch_shard, self._station, shard.content, shard.files, key=key, pure=False
                )
            except Exception as error:
                raise self._waiter.lost() from error
        self._waiting.append(Parcel(shard.start, shard.stop, len(shard.content), future))

    def _full(self) -> bool:
        if sum(parcel.weight for parcel in self._waiting) >= IN_FLIGHT:
            return True
        return len(self._waiting) >= AHEAD * max(1, self._waiter.threads())

    def _take(self) -> tuple[Parcel, Watched]:
        parcel = self._waiting[0]
        where = f"samples {parcel.start} to {parcel.stop - 1}"
        watched: Watched = unpacked(self._waiter.result(parcel.future, where, ADVICE))
        return self._waiting.popleft(), watched
