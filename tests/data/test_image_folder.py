"""A folder of images is data once it is said how images become inputs."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from onnxq.errors import DataError
from onnxq.inputs import InputSpec
from onnxq.preprocess import Preprocessing
from onnxq.samples import open_samples

IMAGE = InputSpec("image", np.dtype(np.float32), ("N", 3, 8, 8))
BYTES = InputSpec("image", np.dtype(np.uint8), ("N", 3, 8, 8))
OTHER = InputSpec("x", np.dtype(np.float32), ("N", 3))


def image_folder(folder: Path, *sizes: tuple[int, int]) -> Path:
    folder.mkdir()
    for index, size in enumerate(sizes):
        Image.new("RGB", size[::-1], (index, 100, 200)).save(folder / f"{index}.PNG")
    return folder


def read(folder: Path, preprocessing: Preprocessing | None, *inputs: InputSpec) -> NDArray[np.generic]:
    batches = open_samples(folder, inputs, preprocessing=preprocessing).batches(2)
    return np.concatenate([batch.feeds["image"] for batch in batches])


def test_images_are_samples_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "images", (8, 8), (16, 8), (4, 20))
    x = read(folder, Preprocessing(resize=8, fit="letterbox"), IMAGE)
    assert x.shape == (3, 3, 8, 8)
    np.testing.assert_array_equal(x[:, :, 0, 0], [[0, 100, 200], [1, 100, 200], [2, 100, 200]])
    assert x[1, 0, 0, 7] == 114
    samples = open_samples(folder, [IMAGE], preprocessing=Preprocessing())
    assert samples.description == "images, 3 samples"


def test_a_model_may_take_bytes(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "images", (16, 16))
    assert read(folder, Preprocessing(resize=8), BYTES).dtype == np.uint8
    with pytest.raises(DataError, match=r"0\.PNG: input 'image' wants uint8\[N,3,8,8\].* Leave out 'scale'"):
        read(folder, Preprocessing(resize=8, mean=(120,)), BYTES)


def test_without_preprocessing_the_error_says_how_to_give_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds images\. Say how images become inputs: .*--preprocess"):
        read(image_folder(tmp_path / "images", (8, 8)), None, IMAGE)


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "images", (8, 8), (9, 8))
    with pytest.raises(DataError, match=r"1\.PNG: input 'image' is float32\[1,3,9,8\]; the model wants"):
        read(folder, Preprocessing(), IMAGE)


def test_other_inputs_have_no_data(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "images", (8, 8))
    with pytest.raises(DataError, match="no array for input 'x'"):
        read(folder, Preprocessing(input="image"), IMAGE, OTHER)


def test_images_and_arrays_are_kept_apart(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "images", (8, 8))
    np.save(folder / "a.npy", np.ones(3))
    with pytest.raises(DataError, match="holds images or arrays, and this one has both"):
        read(folder, Preprocessing(), IMAGE)
