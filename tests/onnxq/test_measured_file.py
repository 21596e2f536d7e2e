"""Statistics come out of a file as they went in, and a damaged file is one sentence."""

import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.errors import DataError
from onnxq.measured import Measured
from onnxq.measured_file import load_measured, save_measured
from onnxq.statistics import TensorStatistics
from onnxq.testing import normal

ONE = TensorStatistics.of(normal(6, 40))
BARE = TensorStatistics.of(normal(6, 40, seed=1), histogram=False)
SEEN = np.array([3, 2**64 - 1], np.uint64)
MEASURED = Measured("word", SEEN, "{}", {"a": ONE, "b by 3": BARE}, {"c": TensorStatistics(-np.inf, np.nan)}, 7)


def same(one: TensorStatistics, other: TensorStatistics) -> None:
    np.testing.assert_array_equal([one.low, one.high], [other.low, other.high])
    assert (one.counts is None) == (other.counts is None)
    if one.counts is not None and other.counts is not None:
        assert one.counts.dtype == other.counts.dtype
        np.testing.assert_array_equal(one.counts, other.counts)
    assert (one.samples is None) == (other.samples is None)
    if one.samples is not None and other.samples is not None:
        assert one.samples.mean == other.samples.mean
        np.testing.assert_array_equal(one.samples.latest, other.samples.latest)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    save_measured(MEASURED, path)
    found = load_measured(path)
    for field in fields(Measured):
        if field.name not in ("known", "begun", "samples", "description"):
            assert getattr(found, field.name) == getattr(MEASURED, field.name)
    np.testing.assert_array_equal(found.samples, MEASURED.samples)
    assert found.description == str(path)
    for given_, read in ((MEASURED.known, found.known), (MEASURED.begun, found.begun)):
        assert given_.keys() == read.keys()
        for word in given_:
            same(given_[word], read[word])
    again = tmp_path / "again.npz"
    save_measured(found, again)
    assert again.read_bytes() == path.read_bytes()


def test_windows_writes_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_measured(MEASURED, tmp_path / "here.npz")
    monkeypatch.setattr("zipfile.sys.platform", "win32")
    assert zipfile.ZipInfo("a").create_system == 0
    save_measured(MEASURED, tmp_path / "there.npz")
    assert (tmp_path / "here.npz").read_bytes() == (tmp_path / "there.npz").read_bytes()


def test_nothing_at_all_is_a_file_too(tmp_path: Path) -> None:
    save_measured(Measured("m", np.zeros(0, np.uint64), ""), tmp_path / "s.npz")
    assert load_measured(tmp_path / "s.npz").known == {}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.binary(max_size=6))
def test_a_damaged_file_is_one_sentence(tmp_path_factory: pytest.TempPathFactory, place: int, change: bytes) -> None:
    path = tmp_path_factory.mktemp("damaged") / "s.npz"
    save_measured(MEASURED, path)
    content = path.read_bytes()
    at = place % len(content)
    path.write_bytes(content[:at] + change + content[at + (place % 3) * len(change) :])
    try:
        load_measured(path)
    except DataError as error:
        assert str(error).startswith(f"{path}: ")


def test_other_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_measured(tmp_path / "no.npz")
    np.savez(tmp_path / "data.npz", x=normal(3))
    np.savez(tmp_path / "pickled.npz", facts=np.array([{}], object))
    (tmp_path / "text.npz").write_text("what")
    for name in ("data", "pickled", "text"):
        with pytest.raises(DataError, match="holds no statistics that onnxq wrote"):
            load_measured(tmp_path / f"{name}.npz")
