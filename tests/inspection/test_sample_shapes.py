"""The shapes of a run: given, fixed, of a batch of 1, or those of an image."""

import numpy as np
import pytest

from onnxq.errors import RecipeError
from onnxq.inputs import Dim, InputSpec
from onnxq.inspection.sample_shapes import read_shape, sample_shapes


def spec(name: str, *shape: Dim) -> InputSpec:
    return InputSpec(name, np.dtype(np.float32), shape)


@pytest.mark.parametrize(
    ("dims", "shape", "samples"),
    [
        (("N", 3, 8, 8), (1, 3, 8, 8), 1),
        ((None, 3, "h", "w"), (1, 3, 224, 224), 1),
        ((4, 16), (4, 16), 4),
        ((), (), 1),
    ],
)
def test_guesses(dims: tuple[Dim, ...], shape: tuple[int, ...], samples: int) -> None:
    found = sample_shapes([spec("x", *dims)], {})
    assert (found.shapes, found.samples, found.open) == ({"x": shape}, samples, ())


def test_what_cannot_be_guessed_is_open_until_it_is_given() -> None:
    inputs = [spec("x", "N", "T"), spec("y", "N", 5)]
    found = sample_shapes(inputs, {})
    assert (found.shapes, found.open) == ({"y": (1, 5)}, ("x",))
    found = sample_shapes(inputs, {"x": (2, 7), "y": (2, 5)})
    assert (found.shapes, found.samples, found.open) == ({"x": (2, 7), "y": (2, 5)}, 2, ())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"z": (1,)}, "unknown input 'z'"),
        ({"x": (1, 3)}, "input 'x' is float32"),
        ({"x": (1, 4, 8, 8)}, "does not fit it"),
    ],
)
def test_shapes_that_do_not_fit(given: dict[str, tuple[int, ...]], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        sample_shapes([spec("x", "N", 3, 8, 8)], given)


def test_what_a_user_writes() -> None:
    assert read_shape("x:1,3,224,224") == ("x", (1, 3, 224, 224))
    assert read_shape("in:0:[1, 8]") == ("in:0", (1, 8))
    assert read_shape("sr:[]") == ("sr", ())
    for text in ("x", "x:", ":1,2", "x:1,b", "x:1,,2"):
        with pytest.raises(RecipeError, match="NAME:1,3,224,224"):
            read_shape(text)
