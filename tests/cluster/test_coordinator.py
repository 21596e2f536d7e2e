"""Calibration on a cluster of processes gives the bytes of one process, whatever happens to the workers."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import onnx
import pytest
from distributed import Client, Worker
from numpy.typing import NDArray

from onnxq.cluster import connection, waiter
from onnxq.errors import ClusterError, DataError
from onnxq.options import Options
from onnxq.outside import Place, reference
from onnxq.pipeline import quantize
from onnxq.samples import Data, input_specs, open_samples
from onnxq.testing import normal, parse
from onnxq.watching import Values, watch

pytestmark = pytest.mark.slow
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import it

TEXT = """g (float[N,3,8,8] x) => (float[N,4] y)
{ c = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(c) p = GlobalAveragePool(r) f = Flatten(p) y = MatMul(f, v) }"""
WEIGHTS: dict[str, Any] = {"w": normal(4, 3, 3, 3), "b": normal(4, seed=1), "v": normal(4, 4, seed=2)}
MODEL = parse(TEXT, **WEIGHTS)
NOTHING = np.float32(0)
X = normal(1000, 3, 8, 8, seed=3)  # 16 shards


@dataclass(frozen=True)
class Sum:
    """A float32, of which the order of addition decides the last bits."""

    total: np.float32

    def merge(self, later: "Sum") -> "Sum":
        return Sum(self.total + later.total)


@dataclass
class Adding:
    """A watcher of one's own, and what it begins."""

    tensor: str
    total: np.float32 = NOTHING

    def begin(self) -> "Adding":
        return Adding(self.tensor)

    def add(self, array: NDArray[np.float32], samples: int) -> None:
        self.total += array.sum() / np.float32(3)

    def kept(self) -> Sum:
        return Sum(self.total)


@dataclass
class Dying(Adding):
    """Kills the process that watches a certain sample, or fails there."""

    how: str = "killed"

    def begin(self) -> "Dying":
        return Dying(self.tensor, how=self.how)

    def add(self, array: NDArray[np.float32], samples: int) -> None:
        if X[500, 0, 0, 0] in array[:, 0, 0, 0]:
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise LookupError("the user's own")


def kept(
    data: Data = X, model: onnx.ModelProto = MODEL, watchers: dict[str, Any] | None = None, **how: Any
) -> dict[str, Any]:
    """All that is known of the samples, arrays as bytes."""
    watched = watchers or {"x": Values("x"), "r": Values("r"), "sum": Adding("r")}
    found = watch(model, watched, open_samples(data, input_specs(model)), batch=24, **how)
    return {key: asdict(value, dict_factory=_bytes) for key, value in found.items()}


def _bytes(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value.tobytes() if isinstance(value, np.ndarray) else value for name, value in fields}


def every_source(folder: Path) -> dict[str, Data]:
    np.savez(folder / "stored.npz", x=X)
    np.savez_compressed(folder / "deflated.npz", x=X)
    np.save(folder / "rows.npy", X)

    def feeds() -> Iterator[dict[str, NDArray[np.float32]]]:
        for start in range(0, len(X), 90):
            yield {"x": X[start : start + 90]}

    found: dict[str, Data] = {path.name: path.name for path in folder.iterdir()}
    return {**found, "array": X, "calls": feeds}


def test_any_number_of_workers_makes_the_model_of_one_process(fresh: Any) -> None:
    def made(cluster: str | None) -> bytes:
        options = Options(build=False, cluster=cluster)
        found = quantize(MODEL, X, backend="openvino", options=options)["openvino"]
        assert found.ledger.of("warning") == []
        return bytes(found.model.SerializeToString(deterministic=True))

    alone = made(None)
    for workers in (1, 2, 3):
        fresh.add_worker()
        with Client(fresh.address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=60)
            assert len(client.nthreads()) == workers
        assert made(fresh.address) == alone


def test_every_kind_of_source(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # workers stand elsewhere
    alone, told = kept(), list[str]()
    for name, source in every_source(tmp_path).items():
        steps = list[int]()
        assert kept(source, cluster=client, step=steps.append, tell=told.append) == alone, name
        assert steps == sorted(steps) and len(steps) == 16 and steps[-1] == 1000
    assert told == []


def test_a_model_of_fixed_batch(client: Client) -> None:
    model = parse(TEXT.replace("N", "24"), **WEIGHTS)
    assert kept(model=model, cluster=client) == kept(model=model)


def test_weights_outside_the_model(client: Client, tmp_path: Path) -> None:
    normal(4, 3, 3, 3).tofile(tmp_path / "weights")
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "w")
    weight.CopyFrom(reference("w", onnx.TensorProto.FLOAT, (4, 3, 3, 3), Place(tmp_path / "weights", 0)))
    alone = kept(model=model)
    assert alone == kept() == kept(model=model, cluster=client)
    with (
        on_workers(client, "onnxq.cluster.worker", "File", "of", staticmethod(lambda path: None)),
        pytest.raises(DataError, match="weights: is not there on worker"),
    ):
        kept(model=model, cluster=client)


def test_a_worker_that_is_killed_costs_time_only(client: Client) -> None:
    alone = kept()
    victims = list(client.run(os.getpid).values())[:1]

    def kill(done: int) -> None:
        if done >= 300 and victims:
            os.kill(victims.pop(), signal.SIGKILL)

    assert kept(cluster=client, step=kill) == alone
    assert victims == []


def test_samples_that_kill_every_worker_are_named(client: Client) -> None:
    # Dask also blames what a dying worker had next.
    with pytest.raises(ClusterError, match=r"^samples \d+ to \d+: 2 workers died one after the other"):
        kept(watchers={"x": Dying("x")}, cluster=client)


def test_a_cluster_that_goes_away(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiter, "PATIENCE", 1)
    monkeypatch.setattr(connection, "ANSWER", 3)
    fresh.add_worker()
    with pytest.raises(ClusterError, match=r"has no workers any more. Start some with: dask worker"):
        kept(cluster=fresh.address, step=lambda done: fresh.stop_workers())
    fresh.add_worker()
    with pytest.raises(ClusterError, match=r"the scheduler at .* is gone"):
        kept(cluster=fresh.address, step=lambda done: fresh.stop_scheduler())


def test_what_fails_on_a_worker_is_told_with_its_samples(client: Client) -> None:
    with pytest.raises(ClusterError, match=r"^samples 448 to 511: a worker failed with LookupError: the user's own"):
        kept(watchers={"x": Dying("x", how="raised")}, cluster=client)
    spoiled = X.copy()
    spoiled[700] = np.nan
    with pytest.raises(DataError, match="sample 700"):
        kept(spoiled, cluster=client)


@contextmanager
def on_workers(client: Client, module: str, name: str, method: str, stand_in: object) -> Iterator[None]:
    """Workers find something else in the place of a method."""

    def put() -> None:
        owner = getattr(import_module(module), name)
        owner.real = vars(owner)[method]
        setattr(owner, method, stand_in)

    def put_back() -> None:
        owner = getattr(import_module(module), name)
        setattr(owner, method, owner.real)

    client.run(put)
    yield
    client.run(put_back)


def test_files_that_workers_do_not_see_are_read_here(client: Client, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    told = list[str]()
    with on_workers(client, "onnxq.cluster.worker", "File", "of", staticmethod(lambda path: None)):
        assert kept(tmp_path / "x.npy", cluster=client, tell=told.append) == kept()
    assert len(told) == 1 and "of the workers do not see" in told[0]


def test_a_worker_of_other_arithmetic_is_told_of(client: Client) -> None:
    told = list[str]()
    with on_workers(client, "onnxq.watching", "Watching", "digest", lambda self, part: "another"):
        assert kept(cluster=client, tell=told.append) == kept()
    assert len(told) >= 2 and all("computes other last bits than this process" in reason for reason in told)


def test_nothing_is_left_behind(client: Client) -> None:
    def stations(dask_worker: Worker) -> list[str]:
        return [name for name in dask_worker.plugins if name.startswith("onnxq")]

    kept(cluster=client)
    assert set(map(len, client.run(stations).values())) == {0}
