"""A store gives back what was put into it or nothing, whoever else is at work on it, and keeps to its size."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from onnxq.caching.store import TAG, Damaged, Store
from onnxq.errors import OutputError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path / "cache")
    found.prepare()
    return found


def test_what_is_put_is_found_with_its_files(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"graph")
    store.put("graphs", "k", {"stem": "a"}, {"0": tmp_path / "a.onnx", "1": b"beside"})
    entry = store.find("graphs", "k")
    assert entry is not None
    assert entry.about == {"stem": "a"}
    assert (b"".join(entry.pieces("0")), entry.text("1")) == (b"graph", "beside")
    assert store.find("graphs", "other") is None
    assert store.find("reports", "k") is None


def test_a_damaged_file_is_never_given(store: Store) -> None:
    store.put("graphs", "k", {}, {"0": b"graph"})
    entry = store.find("graphs", "k")
    assert entry is not None
    (entry.folder / "0").write_bytes(b"grape")
    with pytest.raises(Damaged):
        entry.text("0")
    (entry.folder / "0").unlink()
    with pytest.raises(Damaged):
        entry.text("0")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"about": 1}', '{"about": {}, "files": {"0": 1}}'])
def test_a_damaged_entry_is_none(store: Store, text: str) -> None:
    store.put("graphs", "k", {}, {"0": b"graph"})
    (store.root / "graphs/k/entry.json").write_text(text)
    assert store.find("graphs", "k") is None
    assert not (store.root / "graphs/k").exists()


def test_what_was_used_longest_ago_goes_first(store: Store) -> None:
    for at, key in enumerate("abc"):
        store.put("graphs", key, {}, {"0": bytes(1000)})
        os.utime(store.root / "graphs" / key, (at, at))
    assert store.find("graphs", "a") is not None  # used now
    assert Store(store.folder, 2500).trim() == 1
    assert set(store.entries("graphs")) == {"a", "c"}
    assert Store(store.folder, 0).trim() == 2
    assert list((store.root / "tmp").iterdir()) == []


def test_what_killed_processes_left_goes_after_a_day(store: Store) -> None:
    old, new = store.root / "tmp/graphs-old", store.root / "tmp/graphs-new"
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (0, 0))
    store.trim()
    assert [path.name for path in (store.root / "tmp").iterdir()] == ["graphs-new"]


def test_many_at_once(store: Store) -> None:
    def work(number: int) -> None:
        key = str(number % 3)
        store.put("graphs", key, {"key": key}, {"0": key.encode() * 100_000})
        if number % 7 == 0:
            store.drop("graphs", key)
        entry = store.find("graphs", key)
        if entry is not None:
            assert entry.about == {"key": key}
            with suppress(Damaged):  # dropped as it was read
                assert entry.text("0") == key * 100_000

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(60)))
    assert all(json.loads(path.read_text()) for path in store.root.glob("graphs/*/entry.json"))
    assert list((store.root / "tmp").iterdir()) == []


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("!")
    with pytest.raises(OutputError, match="is no cache of onnxq"):
        Store(tmp_path).prepare()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("!")
    with pytest.raises(OutputError, match="cannot be a cache"):
        Store(tmp_path / "cache").prepare()


def test_tools_that_make_backups_know_it(store: Store) -> None:
    assert (store.folder / TAG).read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
