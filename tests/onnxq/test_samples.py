"""One door for data: every kind of source, batched, limited, restarted, and checked."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from polygraphy.json import save_json

from onnxq.errors import DataError, RecipeError
from onnxq.inputs import Dim, InputSpec
from onnxq.preprocess import Preprocessing
from onnxq.samples import Data, Samples, open_samples


def spec(name: str, dtype: str, *shape: Dim) -> InputSpec:
    return InputSpec(name, np.dtype(dtype), shape)


X = spec("x", "float32", "N", 3)
IMAGE = spec("image", "float32", "N", 3, 8, 8)
DATA = np.arange(30, dtype=np.float32).reshape(10, 3)
LABELS = np.arange(10)
LABELLED: dict[str, NDArray[np.generic]] = {"x": DATA, "labels": LABELS}


def rows(samples: Samples, size: int | None = None) -> NDArray[np.generic]:
    return np.concatenate([batch.feeds[samples.inputs[0].name][: batch.count] for batch in samples.batches(size)])


def refused(source: Data, *inputs: InputSpec, preprocessing: Preprocessing | None = None) -> str:
    with pytest.raises((DataError, RecipeError)) as caught:
        list(open_samples(source, inputs, preprocessing=preprocessing).batches())
    return str(caught.value)


@given(size=st.integers(1, 12), limit=st.integers(1, 12), fixed=st.none() | st.integers(1, 12))
def test_batches_of_any_size_join_to_the_whole(size: int, limit: int, fixed: int | None) -> None:
    samples = open_samples(LABELLED, [spec("x", "float32", fixed, 3)], limit=limit)
    np.testing.assert_array_equal(rows(samples, size), DATA[:limit])
    assert samples.count == min(limit, 10)
    for batch in samples.batches(size):
        np.testing.assert_array_equal(batch.labels, LABELS[batch.start : batch.start + batch.count])


def test_a_fixed_batch_is_always_full() -> None:
    batches = list(open_samples(DATA, [spec("x", "float32", 4, 3)]).batches(7))
    assert [(batch.start, batch.count, len(batch.feeds["x"])) for batch in batches] == [
        (0, 4, 4),
        (4, 4, 4),
        (8, 2, 4),
    ]
    np.testing.assert_array_equal(batches[2].feeds["x"], DATA[[8, 9, 9, 9]])


def test_every_kind_of_source_gives_the_same(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=DATA)
    np.savez_compressed(tmp_path / "b.npz", x=DATA)
    np.save(tmp_path / "c.npy", DATA)
    save_json([{"x": DATA[:6]}, {"x": DATA[6:]}], str(tmp_path / "d.json"))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "readme.txt").write_text("not data")
    np.save(folder / "0.npy", DATA[:1])
    np.savez(folder / "1.npz", x=DATA[1:5])
    save_json({"x": DATA[5:]}, str(folder / "2.json"))
    (tmp_path / "e.py").write_text(
        "import numpy as np\ndef feeds():\n    for row in np.arange(30, dtype='f').reshape(10, 1, 3):\n"
        "        yield {'x': row}\n"
    )

    def feeds() -> Iterator[dict[str, NDArray[np.float32]]]:
        yield {"x": DATA[:7]}
        yield {"x": DATA[7:]}

    files: list[Data] = [tmp_path / name for name in ("a.npz", "b.npz", "c.npy", "d.json", "folder")]
    sources: list[Data] = [*files, str(tmp_path / "a.npz"), f"{tmp_path}/e.py:feeds"]
    sources += [DATA, {"x": DATA}, {"x": DATA.tolist()}, feeds, [{"x": DATA}]]
    for source in sources:
        samples = open_samples(source, [X])
        for _ in range(2):
            np.testing.assert_array_equal(rows(samples, 4), DATA)
        np.testing.assert_array_equal(rows(open_samples(source, [X], limit=4)), DATA[:4])
        assert samples.count in (10, None)


def test_descriptions(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=DATA)
    samples = open_samples(tmp_path / "a.npz", [X])
    assert samples.description == "a.npz, 10 samples"
    assert samples.take(4).description == "a.npz, the first 4 of 10 samples"
    assert samples.take(1).take(5).count == 1
    assert (
        open_samples(lambda: [{"x": DATA}], [X], limit=3).description
        == "<lambda>(), read when needed, at most 3 samples"
    )
    assert "RANDOM" in open_samples("random", [X]).description


def test_labels() -> None:
    assert open_samples(LABELLED, [X]).labels_known is True
    assert open_samples({"x": DATA}, [X]).labels_known is False
    assert open_samples(lambda: [({"x": DATA}, LABELS)], [X]).labels_known is None
    said = refused([({"x": DATA}, LABELS), {"x": DATA}], X)
    assert said == "the feeds: only some batches have labels. Give all of them labels, or none."


def test_polygraphy_s_feeds_stay_whole(tmp_path: Path) -> None:
    save_json([{"x": DATA[:6]}, {"x": DATA[6:]}], str(tmp_path / "d.json"))
    samples = open_samples(tmp_path / "d.json", [X])
    assert [(len(b.feeds["x"]), b.count) for b in samples.batches(1)] == [(6, 6), (4, 4)]
    assert [(len(b.feeds["x"]), b.count) for b in samples.take(7).batches(1)] == [(6, 6), (4, 1)]


def test_more_is_not_read_than_asked() -> None:
    def feeds() -> Iterator[dict[str, NDArray[np.float32]]]:
        yield {"x": DATA[:4]}
        raise AssertionError("read too far")

    assert len(rows(open_samples(feeds, [X], limit=4))) == 4


def test_samples_pass_through() -> None:
    samples = open_samples(DATA, [X], limit=5)
    np.testing.assert_array_equal(rows(open_samples(samples, [X])), DATA[:5])
    assert open_samples(samples, [X], limit=2).count == 2


def test_random_obeys_limit_and_seed() -> None:
    first = rows(open_samples("random", [X], limit=40, seed=1))
    np.testing.assert_array_equal(rows(open_samples("random", [X], limit=40, seed=1), 7), first)
    assert first.shape == (40, 3)
    assert open_samples("random", [X]).count == 16


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_memory_does_not_grow_with_the_samples(tmp_path: Path, save: object) -> None:
    assert callable(save)
    save(tmp_path / "d.npz", x=np.ones((50_000, 256), np.float32), labels=np.zeros(50_000, int))  # 51 MB
    samples = open_samples(tmp_path / "d.npz", [spec("x", "float32", "N", 256)])
    tracemalloc.start()
    assert sum(batch.count for batch in samples.batches(32)) == 50_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6


def test_errors_of_values() -> None:
    assert "is one array and the model has 2 inputs: x, image" in refused(DATA, X, IMAGE)
    assert "can be read only once" in refused(iter([{"x": DATA}]), X)
    assert "a int is not data" in refused(5, X)  # type: ignore[arg-type]
    assert refused([], X) == "the feeds: gave 0 samples. Give at least one."
    assert "holds 0 samples" in refused(DATA[:0], X)


def test_a_nan_in_a_file_names_sample_and_input(tmp_path: Path) -> None:
    x = np.ones((500, 3), np.float32)
    x[321, 1] = np.nan
    np.savez(tmp_path / "a.npz", x=x)
    assert refused(tmp_path / "a.npz", X).startswith(f"{tmp_path}/a.npz: sample 321 (from 0) of input 'x'")


@pytest.mark.parametrize("size", [0, -1])
def test_sizes_below_one_are_refused(size: int) -> None:
    with pytest.raises(DataError, match="--samples"):
        open_samples(DATA, [X], limit=size)
    with pytest.raises(DataError, match="batch size"):
        list(open_samples(DATA, [X]).batches(size))


def every_kind(folder: Path, data: NDArray[np.float32]) -> dict[str, Data]:
    """The same data from every kind of source; of the last two, feeds are whole, and 5 samples each."""
    np.savez(folder / "stored.npz", x=data)
    np.savez_compressed(folder / "deflated.npz", x=data)
    np.savez(folder / "scattered.npz", x=np.asfortranarray(data))
    np.save(folder / "rows.npy", data)
    parts = folder / "folder"
    parts.mkdir()
    np.save(parts / "0.npy", data[:50])
    np.savez(parts / "1.npz", x=data[50:])
    save_json([{"x": data[i : i + 5]} for i in range(0, len(data), 5)], str(folder / "saved.json"))
    found: dict[str, Data] = {path.name: path for path in folder.iterdir()}
    return {
        **found,
        "array": data,
        "calls": lambda: ({"x": data[i : i + 7]} for i in range(0, len(data), 7)),
        "whole": [{"x": row[None, None]} for row in data],
    }


@pytest.mark.parametrize("fixed", [None, 7])
@pytest.mark.parametrize("limit", [None, 100])
def test_a_part_is_what_a_shard_has_of_the_whole(tmp_path: Path, fixed: int | None, limit: int | None) -> None:
    data = np.arange(450, dtype=np.float32).reshape(150, 3)
    for name, source in every_kind(tmp_path, data).items():
        if fixed and name in ("saved.json", "whole"):
            continue  # feeds of other batches do not fit
        samples = open_samples(source, [spec("x", "float32", fixed, 3)], limit=limit)
        shards = [list(batches) for batches in samples.shards(24)]
        for number, batches in enumerate(shards):
            start = number * samples.shard
            alone = list(samples.part(start, start + samples.shard).batches(24))
            assert [(b.start, b.count) for b in alone] == [(b.start, b.count) for b in batches], name
            for one, other in zip(alone, batches, strict=True):
                np.testing.assert_array_equal(one.feeds["x"], other.feeds["x"])
        assert sum(batch.count for batches in shards for batch in batches) == (limit or 150), name
        assert samples.shard == (70 if fixed else 64)


def test_a_whole_feed_is_in_the_shard_of_its_first_sample(tmp_path: Path) -> None:
    save_json([{"x": np.ones((50, 3), np.float32)}] * 3, str(tmp_path / "saved.json"))
    samples = open_samples(tmp_path / "saved.json", [X])
    assert [[batch.start for batch in batches] for batches in samples.shards(8)] == [[0, 50], [100]]
    assert [batch.start for batch in samples.part(64, 128).batches(8)] == [100]


def test_parts_of_parts(tmp_path: Path) -> None:
    samples = open_samples(DATA, [X], limit=8).part(2, 9)
    assert (samples.count, samples.description) == (6, "the array, 6 samples")
    np.testing.assert_array_equal(rows(samples.part(0, 4)), DATA[2:4])
    np.testing.assert_array_equal(rows(samples.take(3)), DATA[2:5])
    assert samples.part(8, 20).count == 0


def test_a_part_of_a_stored_file_is_read_without_what_is_before_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=DATA)
    samples = open_samples(tmp_path / "x.npz", [X])
    with (tmp_path / "x.npz").open("r+b") as stream:
        at = stream.read().index(DATA[:2].tobytes())
        stream.seek(at)
        stream.write(b"\xff" * 24)  # which whoever reads them would tell
    np.testing.assert_array_equal(rows(samples.part(2, 10)), DATA[2:])
    with pytest.raises(DataError, match="CRC"):
        rows(samples.part(0, 3))
