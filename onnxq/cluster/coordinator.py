"""Watch the shards of samples on a cluster: what is kept of them comes in their order, as it does in one process."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxq.cluster.connection import connected
from onnxq.cluster.line import Line
from onnxq.cluster.parcel import packed
from onnxq.cluster.shards import shards
from onnxq.cluster.worker import File, Job, Station
from onnxq.outside import entries, outsiders
from onnxq.samples import Samples
from onnxq.watching import Watching

if TYPE_CHECKING:
    from distributed import Client


def spread(
    cluster: "str | Client",
    watching: Watching[Any],
    samples: Samples,
    batch: int,
    *,
    step: Callable[[int], None],
    tell: Callable[[str], None],
) -> Generator[dict[Any, Any]]:
    """What is kept of each shard, from the first to the last.

    A worker that dies costs the time to watch its shards again. ``step`` is told how many samples are done, ``tell``
    what a user should know. Raises ClusterError, and whatever a worker raises of onnxq's own errors.
    """
    inexact: set[str] = set()
    with connected(cluster) as client, _station(client, _job(watching, samples, batch)) as name:
        line = Line(client, name)
        try:
            for parcel, watched in line.through(shards(client, samples, batch, tell)):
                if not watched.exact and watched.worker not in inexact:
                    inexact.add(watched.worker)
                    tell(
                        f"worker {watched.worker} computes other last bits than this process (another CPU, or another "
                        "onnxruntime); so ranges may depend a little on which samples it was given"
                    )
                step(parcel.stop)
                yield watched.kept
        finally:
            line.stop()


def _job(watching: Watching[Any], samples: Samples, batch: int) -> Job:
    model = watching.lean.whole()
    weights = {Path(entries(tensor)["location"]) for tensor in outsiders(model)}
    files = [file for path in sorted(weights) if (file := File.of(path)) is not None]
    example = next(iter(samples.batches(1)))
    return Job(
        model.SerializeToString(), tuple(files), dict(watching.watchers), batch, example, watching.digest(example)
    )


@contextmanager
def _station(client: "Client", job: Job) -> Iterator[str]:
    """The name of a station on every worker, which is taken away at the end."""
    station = Station(packed(job))
    client.register_plugin(station)
    try:
        yield station.name
    finally:
        with suppress(Exception):  # as in Line.stop
            client.unregister_worker_plugin(station.name)
