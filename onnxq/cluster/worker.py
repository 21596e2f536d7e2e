"""What runs on a worker of the cluster. It is handed the model once, and makes a session of it for its first shard."""

import stat
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import onnx
from distributed import Worker, WorkerPlugin, get_worker

from onnxq.cluster.connection import check_version
from onnxq.cluster.parcel import packed, unpacked
from onnxq.errors import DataError
from onnxq.lean import Lean
from onnxq.samples import Batch, Samples
from onnxq.watching import Watcher, Watching


@dataclass(frozen=True)
class File:
    """A file as one machine sees it."""

    path: Path
    size: int
    seconds: int  # since 1970, when it was written

    @staticmethod
    def of(path: Path) -> "File | None":
        """None where there is no such file."""
        try:
            found = path.stat()
        except OSError:
            return None
        return File(path, found.st_size, int(found.st_mtime)) if stat.S_ISREG(found.st_mode) else None


@dataclass(frozen=True)
class Job:
    """What is to be watched, and the digest of what is watched in one ``example`` where the work comes from.

    ``files`` hold those weights of the model that lie outside it.
    """

    model: bytes
    files: tuple[File, ...]
    watchers: dict[Any, Watcher[Any]]
    batch: int
    example: Batch
    digest: str


@dataclass(frozen=True)
class Watched:
    """What a worker kept of a shard, and whether it computes as the sender of the work does, to the last bit."""

    kept: dict[Any, Any]
    worker: str
    exact: bool


class Station(WorkerPlugin):  # type: ignore[misc]  # it is not typed
    """Stands on every worker, on one that comes later too, until the job is done."""

    def __init__(self, job: bytes) -> None:
        self.name = f"onnxq-{uuid4().hex}"
        self._version, self._job = version("onnxq"), job
        self._ready = False

    def setup(self, worker: Worker) -> None:
        self._lock, self._address = threading.Lock(), worker.address

    def watch(self, shard: Samples | list[Batch], files: Iterable[File]) -> Watched:
        """Raises ClusterError where this onnxq is another, DataError where a file is."""
        with self._lock:
            if not self._ready:
                self._begin()
        for file in files:
            check(file, self._address)
        batches = shard.batches(self._batch) if isinstance(shard, Samples) else shard
        return Watched(self._watching.shard(batches), self._address, self._exact)

    def _begin(self) -> None:
        check_version("the sender of the work", self._version)
        job: Job = unpacked(self._job)
        for file in job.files:
            check(file, self._address)
        model = onnx.load_model_from_string(job.model)
        self._watching, self._batch = Watching(Lean.of(model), job.watchers), job.batch
        self._exact = self._watching.digest(job.example) == job.digest
        self._ready = True


def watch_shard(station: str, shard: bytes, files: tuple[File, ...]) -> bytes:
    """A task of the cluster: a shard, which is read here or was read before, watched at the station of this worker."""
    plugin = get_worker().plugins[station]
    assert isinstance(plugin, Station)
    return packed(plugin.watch(unpacked(shard), files))


def sees(files: Iterable[File]) -> bool:
    """Whether they are on this machine what they are on the one that asks."""
    return all(File.of(file.path) == file for file in files)


def check(file: File, worker: str) -> None:
    found = File.of(file.path)
    if found != file:
        said = "is not there" if found is None else "is another one (its size or time differs)"
        raise DataError(
            f"{file.path}: {said} on worker {worker}. Mount the folder there too, or copy it with its times (cp -p)."
        )
