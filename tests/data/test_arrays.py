"""Arrays are read in blocks, from stored and deflated files alike, and never as pickles."""

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxq.data.arrays import Held, Rows, open_npy, open_npz
from onnxq.errors import DataError


def whole(rows: Rows, block: int) -> NDArray[np.generic]:
    return np.concatenate(list(rows.blocks(block)))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_blocks_of_an_npz_are_the_array(tmp_path: Path, save: object, order: str) -> None:
    assert callable(save)
    x = np.arange(7 * 3 * 2, dtype=np.int16).reshape(7, 3, 2)
    x = np.asfortranarray(x) if order == "F" else x
    save(tmp_path / "d.npz", x=x, big=np.arange(7.0, dtype=">f8"))
    members = open_npz(tmp_path / "d.npz")
    assert members["x"].shape == (7, 3, 2)
    np.testing.assert_array_equal(whole(members["x"], 3), x)
    big = whole(members["big"], 2)
    np.testing.assert_array_equal(big, np.arange(7.0))
    assert big.dtype == np.dtype("=f8")


@pytest.mark.parametrize("order", ["C", "F"])
def test_blocks_of_an_npy_are_the_array(tmp_path: Path, order: str) -> None:
    x = np.arange(35, dtype=">f4").reshape(7, 5)
    np.save(tmp_path / "x.npy", np.asfortranarray(x) if order == "F" else x)
    np.testing.assert_array_equal(whole(open_npy(tmp_path / "x.npy"), 2), x)


@given(rows=st.integers(1, 20), block=st.integers(1, 25))
def test_blocks_of_any_size_join_to_the_whole(rows: int, block: int) -> None:
    x = np.arange(rows * 2).reshape(rows, 2)
    np.testing.assert_array_equal(whole(Held(x), block), x)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, save: object) -> None:
    assert callable(save)
    save(tmp_path / "d.npz", x=np.zeros((50_000, 256), np.float32))  # 51 MB
    tracemalloc.start()
    count = sum(len(block) for block in open_npz(tmp_path / "d.npz")["x"].blocks(64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 50_000
    assert peak < 4e6


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=np.array([{}], object))
    with pytest.raises(DataError, match=r"x\.npy: .*pickled"):
        open_npy(tmp_path / "x.npy")
    with pytest.raises(DataError, match=r"x\.npz: .*pickled"):
        open_npz(tmp_path / "x.npz")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"a\.npz: cannot be read as arrays: File is not a zip file"):
        open_npz(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.arange(1000))
    damaged = bytearray((tmp_path / "b.npz").read_bytes())
    damaged[2000] ^= 255
    (tmp_path / "b.npz").write_bytes(damaged)
    with pytest.raises(DataError, match=r"b\.npz: .*CRC"):
        whole(open_npz(tmp_path / "b.npz")["x"], 64)
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match=r"member 'readme.txt' is not an \.npy array"):
        open_npz(tmp_path / "c.npz")
    (tmp_path / "d.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"d\.npy"):
        open_npy(tmp_path / "d.npy")


@pytest.mark.parametrize(("at", "byte"), [(0, 0), (6, 9), (70, 0x7B), (12, 0xFF)])
def test_damaged_headers_are_named(tmp_path: Path, at: int, byte: int) -> None:
    np.save(tmp_path / "x.npy", np.arange(10))
    damaged = bytearray((tmp_path / "x.npy").read_bytes())
    damaged[at] = byte
    (tmp_path / "x.npy").write_bytes(damaged)
    with pytest.raises(DataError, match=r"x\.npy: cannot be read as arrays"):
        open_npy(tmp_path / "x.npy")


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(1000))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:4000])
    with pytest.raises(DataError, match=r"x\.npy: cannot be read .*\[1000\] and is too short for that"):
        open_npy(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
    with pytest.raises(DataError, match=r"y\.npz: cannot be read .*too short"):
        open_npz(tmp_path / "y.npz")
