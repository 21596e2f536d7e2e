"""Pixels become model inputs by the stated formula."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onnxq.data.images import Placement
from onnxq.errors import DataError, RecipeError
from onnxq.preprocess import PRESETS, Preprocessing, parse_preprocessing

RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def test_the_formula() -> None:
    images = noise(2, 3, 4, 3)
    made = Preprocessing(scale=1 / 255, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)).apply(images)
    wanted = ((images / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]).transpose(0, 3, 1, 2)
    assert made.dtype == np.float32 and made.flags.c_contiguous
    np.testing.assert_allclose(made, wanted, atol=1e-6)


def test_colours_and_layout() -> None:
    images = noise(1, 2, 2, 3)
    np.testing.assert_array_equal(Preprocessing(color="BGR", layout="NHWC").apply(images), images[..., ::-1])
    grey = np.asarray(Image.fromarray(images[0]).convert("L"))
    np.testing.assert_array_equal(Preprocessing(color="GREY").apply(images)[0, 0], grey)
    np.testing.assert_array_equal(Preprocessing().apply(images[..., :1])[0], np.stack([images[0, :, :, 0]] * 3))


@given(height=st.integers(1, 40), width=st.integers(1, 40), fit=st.sampled_from(["stretch", "letterbox"]))
def test_resized_is_as_large_as_asked(height: int, width: int, fit: str) -> None:
    made = Preprocessing.model_validate({"resize": [16, 24], "fit": fit}).apply(noise(1, height, width, 3))
    assert made.shape == (1, 3, 16, 24)


@given(height=st.integers(1, 60), width=st.integers(1, 60))
def test_the_shorter_side_is_as_asked(height: int, width: int) -> None:
    assert min(Preprocessing(resize=17, fit="shorter").placement(height, width).size) == 17


def test_letterbox_keeps_the_aspect_and_fills_right_and_bottom() -> None:
    wide = Preprocessing(resize=8, fit="letterbox", interpolation="nearest")
    images = np.full((1, 4, 16, 3), 7, np.uint8)
    made = wide.apply(images)
    assert (made[0, :, :2] == 7).all() and (made[0, :, 2:] == 114).all()
    assert wide.placement(4, 16) == Placement((2, 8), 0.5, 0.5)


def test_crop_is_the_centre() -> None:
    images = noise(1, 6, 8, 3)
    made = Preprocessing(crop=(2, 4), layout="NHWC").apply(images)
    np.testing.assert_array_equal(made, images[:, 2:4, 2:6])
    assert Preprocessing(crop=(2, 4)).placement(6, 8) == Placement((6, 8), 1, 1, 2, 2)


def test_imagenet_as_torchvision_does_it(tmp_path: Path) -> None:
    image = Image.fromarray(noise(300, 401, 3))
    image.save(tmp_path / "a.png")
    small = np.asarray(image.resize((342, 256), Image.Resampling.BILINEAR))[16:240, 59:283]
    wanted = (small / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    made = PRESETS["imagenet"].load(tmp_path / "a.png")
    np.testing.assert_allclose(made, wanted.transpose(2, 0, 1), atol=1e-5)


def test_too_large_a_crop_and_odd_channels_are_refused() -> None:
    with pytest.raises(DataError, match="crop 9x9 is larger than the image, 8x16"):
        Preprocessing(crop=9).apply(noise(1, 8, 16, 3))
    with pytest.raises(DataError, match=r"uint8\[1, 8, 8, 4\]"):
        Preprocessing().apply(noise(1, 8, 8, 4))


def test_files_that_are_no_8_bit_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"a\.png: cannot be read as an image"):
        Preprocessing().load(tmp_path / "a.png")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"b\.png: has pixels of more than 8 bits"):
        Preprocessing().load(tmp_path / "b.png")
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "c.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "c.png").read_bytes()[:2000])
    with pytest.raises(DataError, match=r"c\.png: cannot be read as an image"):
        Preprocessing().load(tmp_path / "c.png")


def test_preprocessings_are_written_in_three_ways(tmp_path: Path) -> None:
    wanted = Preprocessing(resize=(8, 9), crop=4, scale=0.5, mean=(1, 2, 3))
    text = "{resize: [8, 9], crop: 4, scale: 0.5, mean: [1, 2, 3]}"
    (tmp_path / "p.yaml").write_text(text)
    assert parse_preprocessing(text) == wanted
    assert parse_preprocessing(tmp_path / "p.yaml") == wanted
    assert parse_preprocessing("imagenet").crop == 224


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("imagnet", "unknown preprocessing 'imagnet'. Did you mean 'imagenet'?"),
        ("{resise: 8}", "unknown field 'resise'. Did you mean 'resize'?"),
        ("{resize: big}", "field 'resize' is 'big' but"),
        ("{resize: 0}", "greater than 0"),
        ("{fit: squash}", "'stretch', 'shorter' or 'letterbox'"),
        ("{fit: letterbox}", "wants 'resize'"),
        ("{fit: shorter, resize: [1, 2]}", "wants 'resize' as one number"),
        ("{mean: [1, 2]}", "'mean' has 2 values; RGB wants 1 or 3"),
        ("{std: [0]}", "'std' holds 0"),
        ("{std: [.nan]}", "field 'std'"),
        ("{resize: 8", "not valid YAML"),
        ("none.yaml", "none.yaml: no such file"),
    ],
)
def test_wrong_preprocessings(text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_preprocessing(text)
    assert said in str(caught.value)
