"""Colour, size and place of pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onnxq.data.images import coloured, placement, resized


def test_grey_is_pillow_s_grey() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(coloured(image, "GREY")[..., 0], np.asarray(Image.fromarray(image).convert("L")))


@pytest.mark.parametrize("method", ["bilinear", "nearest", "bicubic"])
def test_channels_resized_alone_are_the_image_resized(method: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    together = Image.fromarray(image).resize((5, 7), Image.Resampling[method.upper()])
    np.testing.assert_array_equal(resized(image, (7, 5), method), np.asarray(together))


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(1, 640))
def test_letterbox_fills_one_side_and_overflows_none(height: int, width: int, side: int) -> None:
    assert max(placement(height, width, (side, side), "letterbox", None).size) == side


def test_crop_of_a_letterbox_is_cut_from_the_filled_square() -> None:
    place = placement(4, 16, (8, 8), "letterbox", (4, 4))
    assert (place.size, place.top, place.left) == ((2, 8), 2, 2)
