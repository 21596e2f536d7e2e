"""A chunk fits the model, or the error names the file, the input, the limit and the way out."""

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.data.chunks import Chunk
from onnxq.data.feeds import pieces
from onnxq.errors import DataError, RecipeError
from onnxq.inputs import Dim, InputSpec
from onnxq.preprocess import Preprocessing


def spec(name: str, dtype: str, *shape: Dim) -> InputSpec:
    return InputSpec(name, np.dtype(dtype), shape)


IMAGE = spec("image", "float32", "N", 3, 4, 4)
IDS = spec("ids", "int64", "N", None)


def refused(arrays: Mapping[str, NDArray[np.generic]], *inputs: InputSpec, pixels: Preprocessing | None = None) -> str:
    with pytest.raises((DataError, RecipeError)) as caught:
        list(pieces(Chunk("d.npz", arrays), inputs, pixels, 10))
    return str(caught.value)


def test_the_batch_axis_is_axis_0() -> None:
    (piece,) = pieces(Chunk("d", {"ids": np.ones((5, 7), int)}, np.arange(5)), [IDS], None, 3)
    assert (piece.whole, piece.batch.count, piece.batch.start) == (False, 5, 3)


def test_one_rank_more_is_a_whole_feed_a_sample() -> None:
    x = np.arange(2 * 5 * 7).reshape(2, 5, 7)
    found = list(pieces(Chunk("d", {"ids": x}, np.array([8, 9])), [IDS], None, 3))
    assert [piece.batch.feeds["ids"].shape for piece in found] == [(5, 7), (5, 7)]
    assert all(piece.whole and piece.batch.count == 1 for piece in found)
    assert found[1].batch.start == 4
    np.testing.assert_array_equal(found[1].batch.labels, [9])


def test_whole_feeds_mix_with_batched_inputs_and_scalars() -> None:
    inputs = [spec("x", "float32", "N", 4), spec("state", "float32", 2, "N", 3), spec("rate", "int64")]
    arrays = {"x": np.ones((6, 4), "f"), "state": np.ones((6, 2, 1, 3), "f"), "rate": np.arange(6)}
    found = list(pieces(Chunk("d", arrays), inputs, None, 0))
    shapes = {name: array.shape for name, array in found[5].batch.feeds.items()}
    assert shapes == {"x": (1, 4), "state": (2, 1, 3), "rate": ()}
    assert found[5].batch.feeds["rate"] == 5


def test_wider_numbers_of_the_same_kind_are_taken() -> None:
    (piece,) = pieces(Chunk("d", {"ids": np.ones((5, 7), np.int32)}), [IDS], None, 0)
    assert piece.batch.feeds["ids"].dtype == np.int64
    (piece,) = pieces(Chunk("d", {"image": np.ones((1, 3, 4, 4), np.float16)}), [IMAGE], None, 0)
    assert piece.batch.feeds["image"].dtype == np.float32
    (piece,) = pieces(Chunk("d", {"image": np.ones((1, 3, 4, 4))}), [IMAGE], None, 0)
    assert piece.batch.feeds["image"].dtype == np.float32


@pytest.mark.parametrize(("dtype", "other"), [("float32", "int64"), ("int64", "float32"), ("float16", "float32")])
def test_other_numbers_are_refused(dtype: str, other: str) -> None:
    said = refused({"x": np.ones((2, 3), other)}, spec("x", dtype, "N", 3))
    wanted = f"input 'x' is {other}[2,3]; the model wants {dtype}[N,3]. Save it with array.astype('{dtype}')."
    assert said == f"d.npz: {wanted}"


def test_pixels_want_a_preprocessing() -> None:
    pixels = np.full((2, 4, 4, 3), 100, np.uint8)
    assert "'images' is no input of the model, so it must be raw pixels" in refused({"images": pixels}, IMAGE)
    assert "--preprocess" in refused({"image": pixels}, IMAGE)
    for name in ("images", "image"):
        (piece,) = pieces(Chunk("d", {name: pixels}), [IMAGE], Preprocessing(scale=0.5), 0)
        np.testing.assert_array_equal(piece.batch.feeds["image"], np.full((2, 3, 4, 4), 50, "f"))


def test_grey_pixels_need_no_channel_axis() -> None:
    arrays = {"images": np.full((2, 4, 4), 100, np.uint8)}
    half = spec("x", "float16", "N", 1, 4, 4)
    (piece,) = pieces(Chunk("d", arrays), [half], Preprocessing(color="GREY"), 0)
    assert piece.batch.feeds["x"].dtype == np.float16


def test_pixels_go_to_the_named_input() -> None:
    pixels = {"images": np.zeros((2, 4, 4, 3), np.uint8), "ids": np.ones((2, 1), int)}
    (piece,) = pieces(Chunk("d", pixels), [IDS, IMAGE], Preprocessing(input="image"), 0)
    assert list(piece.batch.feeds) == ["ids", "image"]
    assert "the model has 2 inputs; name the one for images" in refused(pixels, IDS, IMAGE, pixels=Preprocessing())
    said = refused(pixels, IDS, IMAGE, pixels=Preprocessing(input="imag"))
    assert said == "preprocessing: unknown input 'imag'. Did you mean 'image'? Valid: ids, image."


def test_pixels_that_cannot_be_preprocessed_name_the_file() -> None:
    pixels = {"images": np.zeros((2, 4, 4, 3), np.uint8)}
    assert refused(pixels, IMAGE, pixels=Preprocessing(crop=5)).startswith("d.npz: input 'image': crop 5x5 is larger")


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((3, 4, 4), "is float32[3,4,4]; the model wants float32[N,3,4,4]. Add a batch axis: array[None]."),
        ((2, 4, 4, 3), "It looks like NHWC: array.transpose(0, 3, 1, 2)."),
        (
            (2, 3, 5, 5),
            "is float32[2,3,5,5]; the model wants float32[N,3,4,4]. Bring each sample to that shape",
        ),
    ],
)
def test_wrong_shapes(shape: tuple[int, ...], said: str) -> None:
    assert said in refused({"image": np.ones(shape, "f")}, IMAGE)


def test_nchw_for_nhwc() -> None:
    said = refused({"x": np.ones((2, 3, 4, 5), "f")}, spec("x", "float32", "N", 4, 5, 3))
    assert "It looks like NCHW: array.transpose(0, 2, 3, 1)." in said


def test_wrong_names() -> None:
    x = np.ones((2, 3, 4, 4), "f")
    assert refused({"imag": x}, IMAGE) == "d.npz: unknown input 'imag'. Did you mean 'image'? Valid: image."
    said = refused({"image": x}, IMAGE, IDS)
    assert said == "d.npz: no array for input 'ids', int64[N,?]. Add it under that name; there is: image."


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_names_sample_and_input(value: float) -> None:
    x = np.ones((5, 3, 4, 4), "f")
    x[2, 1, 0, 3] = value
    wanted = "d.npz: sample 12 (from 0) of input 'image' holds NaN or infinity. Repair it or leave it out."
    assert refused({"image": x}, IMAGE) == wanted
    assert refused({"image": x[:, None]}, IMAGE).startswith("d.npz: sample 12 ")


def test_what_overflows_is_not_finite() -> None:
    assert "sample 10 " in refused({"image": np.full((1, 3, 4, 4), 1e300)}, IMAGE)


def test_arrays_of_different_lengths() -> None:
    arrays = {"image": np.ones((2, 3, 4, 4), "f"), "ids": np.ones((3, 1), int)}
    assert "'image' has 2 samples and 'ids' has 3" in refused(arrays, IMAGE, IDS)
    assert "'ids' is a single number" in refused({"ids": np.array(3)}, IDS)
