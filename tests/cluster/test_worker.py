"""What a worker knows of files."""

import os
from pathlib import Path

import pytest

from onnxq.cluster.worker import File, check, sees
from onnxq.errors import DataError


def test_a_file_is_known_by_its_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(b"1234")
    os.utime(path, (1000.7, 1000.7))
    known = File.of(path)
    assert known == File(path, 4, 1000) and sees([known])
    os.utime(path, (2000, 2000))
    assert not sees([known])
    with pytest.raises(DataError, match=r"x.npy: is another one \(its size or time differs\) on worker tcp://w"):
        check(known, "tcp://w")
    path.unlink()
    with pytest.raises(DataError, match=r"x.npy: is not there on worker tcp://w. Mount the folder there too"):
        check(known, "tcp://w")


def test_folders_are_no_files(tmp_path: Path) -> None:
    assert File.of(tmp_path) is None
