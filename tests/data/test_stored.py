"""A path is a source, or the error says what would be one."""

from pathlib import Path

import numpy as np
import pytest

from onnxq.data.stored import stored_source
from onnxq.errors import DataError
from onnxq.inputs import InputSpec
from onnxq.samples import open_samples

X = InputSpec("x", np.dtype(np.float32), ("N", 3))
DATA = np.ones((10, 3), np.float32)


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        stored_source(path, (X,), None)
    return str(caught.value)


def test_no_such_path() -> None:
    assert refused(Path("none.npz")).startswith("none.npz: no such file or folder. Give an .npz, .npy or")


def test_another_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1")
    assert "a.csv: is none of the kinds of data onnxq reads. Give an .npz" in refused(tmp_path / "a.csv")


def test_a_folder_without_data(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("hello")
    assert "this one has neither. Valid: .npz, .npy, .json, .jpg" in refused(tmp_path)


def test_a_folder_counts_all_its_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=DATA, labels=np.arange(10))
    np.savez(tmp_path / "b.npz", x=DATA, labels=np.arange(10))
    source = stored_source(str(tmp_path), (X,), None)
    assert (source.count, source.labelled) == (20, True)


def test_a_folder_is_read_in_one_order_on_every_system(tmp_path: Path) -> None:
    for name in ("b1", "B2", "a3", "_4", "A5"):
        np.save(tmp_path / f"{name}.npy", np.full((1, 3), int(name[1]), np.float32))
    read = [int(batch.feeds["x"][0, 0]) for batch in open_samples(str(tmp_path), (X,)).batches(1)]
    assert read == [5, 2, 4, 3, 1]  # A B _ a b


def test_a_folder_with_labels_for_some(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=DATA, labels=np.arange(10))
    np.savez(tmp_path / "b.npz", x=DATA)
    assert "b.npz has no 'labels' and others do" in refused(tmp_path)
