"""Files that Polygraphy wrote are read back; others are named."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from polygraphy.json import save_json

from onnxq.data.saved_inputs import saved_inputs
from onnxq.errors import DataError
from onnxq.inputs import InputSpec

X = InputSpec("x", np.dtype(np.float32), ("N", 3))
RATE = InputSpec("rate", np.dtype(np.int64), ())


def test_polygraphy_s_inputs_are_read_back(tmp_path: Path) -> None:
    feeds = [OrderedDict(x=np.full((n, 3), n, np.float32)) for n in (2, 1)]
    save_json(feeds, str(tmp_path / "inputs.json"), description="inputs")
    source = saved_inputs(tmp_path / "inputs.json", (X,))
    assert source.count == 3
    for chunk, feed in zip(source.chunks(), feeds, strict=True):
        np.testing.assert_array_equal(chunk.arrays["x"], feed["x"])
        assert chunk.worth == len(feed["x"])


def test_one_feed_alone_and_a_feed_without_batch_axis(tmp_path: Path) -> None:
    save_json(OrderedDict(x=np.ones((4, 3), np.float32)), str(tmp_path / "a.json"))
    assert saved_inputs(tmp_path / "a.json", (X,)).count == 4
    save_json([OrderedDict(x=np.ones((4, 3), np.float32), rate=np.array(8))], str(tmp_path / "b.json"))
    assert saved_inputs(tmp_path / "b.json", (X, RATE)).count == 1


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        '{"x": 5}',
        "[[1]]",
        '[{"x": {"array": "AAAA", "polygraphy_class": "ndarray"}}]',
        '[{"x": {"polygraphy_class": "Strange"}}]',
        '[{"x": {"polygraphy_class": "ndarray"}}]',
        "[" * 100_000,
    ],
)
def test_json_that_is_no_inputs_is_named(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json: .*--save-inputs"):
        saved_inputs(tmp_path / "a.json", (X,))
    assert capsys.readouterr() == ("", "")


def test_json_without_feeds(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(DataError, match="holds no feeds"):
        saved_inputs(tmp_path / "a.json", (X,))
