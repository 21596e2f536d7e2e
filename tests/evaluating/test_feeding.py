"""Batches of one size with labels, whatever the data is."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from onnxq.evaluating.feeding import labelled_batches
from onnxq.inputs import InputSpec
from onnxq.metrics import BoxAP
from onnxq.preprocess import Preprocessing
from onnxq.samples import open_samples

INPUT = InputSpec("x", np.dtype(np.float32), ("N", 3, 8, 8))


def test_images_of_a_folder_are_known_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("c.png", "a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / name)
    images = [{"id": 7 + i, "height": 8, "width": 8, "file_name": f"val/{name}.png"} for i, name in enumerate("cbaz")]
    (tmp_path / "t.json").write_text(json.dumps({"images": images, "categories": [{"id": 1}], "annotations": []}))
    metric = BoxAP(tmp_path / "t.json", (8, 8))
    samples = open_samples(tmp_path / "images", (INPUT,), preprocessing=Preprocessing())
    found = [part.labels.tolist() for part in labelled_batches(samples, [metric], 2) if part.labels is not None]
    assert found == [[9, 8], [7]]
    assert [part.labels for part in labelled_batches(samples, [], 2)] == [None, None]


def test_the_last_batch_is_filled_up() -> None:
    samples = open_samples({"x": np.arange(5 * 192, dtype=np.float32).reshape(5, 3, 8, 8)}, (INPUT,))
    parts = list(labelled_batches(samples, [], 3))
    assert [(part.count, len(part.feeds["x"])) for part in parts] == [(3, 3), (2, 3)]
    assert np.array_equal(parts[1].feeds["x"][2], parts[1].feeds["x"][1])


def test_feeds_that_are_whole_stay_as_they_are() -> None:
    whole = np.zeros((2, 4, 3, 8, 8), np.float32)  # two feeds of four
    parts = list(labelled_batches(open_samples({"x": whole}, (INPUT,)), [], 8))
    assert [part.feeds["x"].shape for part in parts] == [(4, 3, 8, 8)] * 2
