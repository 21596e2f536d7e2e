"""Which shards there are, and who reads them."""

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.cluster.parcel import unpacked
from onnxq.cluster.shards import shards
from onnxq.data.batches import Batch
from onnxq.samples import Data, Samples, input_specs, open_samples
from onnxq.testing import normal, parse

X = normal(150, 4)
INPUTS = input_specs(parse("g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }"))


def cut(
    data: Data, *seen: bool, span: tuple[int, int] = (0, 150)
) -> tuple[list[tuple[int, int]], set[type], list[str]]:
    """The borders, what is sent, and what is told."""
    client, told = Mock(), list[str]()
    client.run.return_value = dict(enumerate(seen))
    found = list(shards(client, open_samples(data, INPUTS).part(*span), 24, told.append))
    return [(shard.start, shard.stop) for shard in found], {type(unpacked(shard.content)) for shard in found}, told


def feeds() -> list[dict[str, NDArray[np.float32]]]:
    return [{"x": X}]


def test_who_reads(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    borders = [(0, 64), (64, 128), (128, 150)]
    assert cut(X) == (borders, {Samples}, [])
    assert cut(feeds) == (borders, {list}, [])
    assert cut(tmp_path / "x.npy", True, True) == (borders, {Samples}, [])
    *found, (told,) = cut(tmp_path / "x.npy", True, False)
    assert found == [borders, {list}] and "1 of the workers do not see" in told


@pytest.mark.parametrize("data", [X, feeds])
def test_shards_lie_alike_in_a_part(data: Data) -> None:
    assert cut(data, span=(70, 140))[0] == [(70, 128), (128, 140)]


def test_what_is_sent_is_the_samples(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    for data in (X, feeds, tmp_path / "x.npy"):
        client = Mock()
        client.run.return_value = {"w": True}
        found: list[Batch] = []
        for shard in shards(client, open_samples(data, INPUTS), 24, print):
            content = unpacked(shard.content)
            found += content if isinstance(content, list) else content.batches(24)
        assert [batch.count for batch in found] == [24, 24, 16, 24, 24, 16, 22]
        np.testing.assert_array_equal(np.concatenate([batch.feeds["x"] for batch in found]), X)
