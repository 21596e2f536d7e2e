"""Parcels are small, and hold what was packed."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.cluster.parcel import packed, packed_with_paths, unpacked
from onnxq.samples import input_specs, open_samples
from onnxq.statistics import TensorStatistics
from onnxq.testing import normal, parse

SPARSE = np.zeros(65536, np.int64)
SPARSE[[0, 7, 65535]] = [2**40, -1, 3]


@pytest.mark.parametrize(
    "array",
    [SPARSE, SPARSE.astype(np.uint32), np.arange(65536), SPARSE.reshape(256, 256), normal(4000), np.zeros(2000, bool)],
)
def test_arrays_arrive_byte_for_byte(array: NDArray[np.generic]) -> None:
    found = unpacked(packed({"a": array}))["a"]
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert found.flags.writeable


def test_a_histogram_weighs_little() -> None:
    statistics = TensorStatistics.of(np.maximum(normal(64, 1000), 0))
    assert statistics.counts is not None and statistics.counts.nbytes == 262144
    assert len(packed(statistics)) < 30_000


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", normal(100, 4))
    samples = open_samples("x.npy", input_specs(parse("g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }")))
    parcel, paths = packed_with_paths(samples.part(64, 128))
    assert paths == {tmp_path / "x.npy"}
    monkeypatch.chdir(tmp_path.parent)
    (batch,) = unpacked(parcel).batches(64)
    assert (batch.start, batch.count) == (64, 36)
    np.testing.assert_array_equal(batch.feeds["x"], normal(100, 4)[64:])
