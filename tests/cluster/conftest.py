"""A cluster on this machine, begun as anyone begins one: ``dask scheduler``, and ``dask worker`` for each worker.

Its workers are watched over, and begun again when they die. (LocalCluster is not made for workers that die.)
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

START = 60  # seconds that a process has to begin
PATIENCE = {"SCHEDULER__ALLOWED_FAILURES": "1", "COMM__TIMEOUTS__CONNECT": "3s"}  # 3 times, and 30 s, for others


class Local:
    """The processes, which log to ``folder``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self._file = folder, folder / "scheduler.json"
        self._processes: list[subprocess.Popen[bytes]] = []
        self.workers = 0
        self._dask("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", self._file)
        with Client(scheduler_file=str(self._file), timeout=START, set_as_default=False) as client:
            self.address: str = client.scheduler.address

    def add_worker(self) -> None:
        self.workers += 1
        options = ("--nthreads", "1", "--no-dashboard", "--local-directory", self.folder / "workers")
        self._dask("worker", self.address, *options)

    def stop(self) -> None:
        self.stop_workers()
        self.stop_scheduler()

    def stop_workers(self) -> None:
        _end(self._processes[1:])

    def stop_scheduler(self) -> None:
        _end(self._processes[:1])

    def _dask(self, *words: object) -> None:
        environment = {**os.environ, **{f"DASK_DISTRIBUTED__{name}": value for name, value in PATIENCE.items()}}
        with (self.folder / "log.txt").open("ab") as log:
            command = [sys.executable, "-m", "dask", *map(str, words)]
            self._processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(START)


@pytest.fixture(scope="package")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    cluster = Local(tmp_path_factory.mktemp("dask"))
    yield cluster
    cluster.stop()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Local]:
    """A cluster without workers, for one test."""
    cluster = Local(tmp_path / "dask")
    yield cluster
    cluster.stop()


@pytest.fixture
def client(local: Local) -> Iterator[Client]:
    """There are two workers at least, and all that a test before this one killed are back."""
    while local.workers < 2:
        local.add_worker()
    with Client(local.address, set_as_default=False) as found:
        found.wait_for_workers(local.workers, timeout=START)
        yield found
