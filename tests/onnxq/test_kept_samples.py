"""What is kept of an activation is some of its numbers, from everywhere, in bounds."""

import numpy as np

from onnxq.kept_samples import KEPT, keep
from onnxq.testing import normal, parse, workspace

NET = parse("g (float[N,8,64,64] x) => (float[N,8,64,64] y) { y = Neg(x) }")
TOKENS = parse("g (float[N,200,16] x) => (float[N,200,16] y) { y = Neg(x) }")


def test_windows_of_images() -> None:
    x = normal(8, 8, 64, 64)
    found = keep(workspace(NET, {"x": x}), {"y": (3, 3)}, 8)["y"]
    assert len(found) == 8 and found.shape[1] == 8 and KEPT / 2 < found.size <= KEPT
    starts = set()
    for image, window in zip(-x, found, strict=True):
        (where,) = np.argwhere(image[0] == window[0, 0, 0])
        starts.add(tuple(where))
        np.testing.assert_array_equal(image[:, where[0] :, where[1] :][:, : window.shape[1], : window.shape[2]], window)
    assert len(starts) == 8


def test_a_window_is_as_large_as_a_layer_needs() -> None:
    found = keep(workspace(NET, {"x": normal(8, 8, 64, 64)}), {"y": (50, 80)}, 8)["y"]
    assert found.shape == (8, 8, 50, 64)


def test_rows_of_everything_else() -> None:
    x = normal(4, 200, 16)
    found = keep(workspace(TOKENS, {"x": x}), {"y": None, "x": None}, 3)
    assert found["y"].shape == (600, 16)
    np.testing.assert_array_equal(found["x"], x[:3].reshape(-1, 16))
    many = keep(workspace(parse("g (float[N,9000,16] x) => (float[N,9000,16] y) { y = Neg(x) }"),
                          {"x": normal(2, 9000, 16)}), {"y": None}, 16)["y"]  # fmt: skip
    assert KEPT / 2 < many.size <= KEPT


def test_images_of_other_sizes_are_left_out() -> None:
    model = parse("g (float[N,2,H,W] x) => (float[N,2,H,W] y) { y = Neg(x) }")
    feeds = [{"x": normal(1, 2, 4, side)} for side in (5, 6, 5)]
    assert keep(workspace(model, feeds), {"y": (1, 1)}, 8)["y"].shape == (2, 2, 4, 5)


def test_nothing_asked_for() -> None:
    assert keep(workspace(NET), {}, 8) == {}
