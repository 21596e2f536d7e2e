"""What stands between onnxq and a cluster is told in a sentence."""

import sys
import threading
from typing import Any

import pytest
from distributed import Client

from onnxq.cluster import connection
from onnxq.cluster.connection import check_version, connected, reach
from onnxq.errors import ClusterError


def test_dask_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"pip install 'onnxq\[cluster\]'"):
        reach("tcp://127.0.0.1:8786")


@pytest.mark.parametrize(("address", "reason"), [("127.0.0.1:9", "nobody answers for 1 s"), ("carrier://x", "carrier")])
def test_an_address_nobody_answers_at(address: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER", 1)
    with pytest.raises(ClusterError, match=rf"^no Dask scheduler at '{address}' \(--cluster, .*{reason}"):
        reach(address)


def test_a_scheduler_without_workers(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ARRIVAL", 1)
    with pytest.raises(ClusterError, match=rf"has had no worker for 1 s.* dask worker {fresh.address}"):
        reach(fresh.address)


def test_a_client_of_ones_own_stays_open(client: Client) -> None:
    with connected(client) as found:
        assert found is client
    assert client.status == "running"


def test_workers_of_another_version(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "version", lambda package: "9.9")
    with pytest.raises(ClusterError, match=r"the scheduler has onnxq .* and this process has 9.9.*cluster\]==9.9'"):
        reach(client)
    with pytest.raises(ClusterError, match="worker tcp://x has no onnxq"):
        check_version("worker tcp://x", None)


def test_nothing_is_left_where_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER", 1)
    before = [thread.name for thread in threading.enumerate()].count("IO loop")
    for address in ("127.0.0.1:9", "carrier://x"):
        with pytest.raises(ClusterError):
            reach(address)
    assert [thread.name for thread in threading.enumerate()].count("IO loop") == before
