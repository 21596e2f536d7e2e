"""``W x`` over the windows of an image is what onnxruntime computes, whatever the convolution."""

import math
from dataclasses import replace

import numpy as np
import onnx
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onnxq.columns import columns_of
from onnxq.errors import ModelError
from onnxq.model import load_model, to_graph
from onnxq.testing import Array, normal, parse, run
from onnxq.weight_matrix import weight_matrix
from onnxq.windows import Windows


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[str, Array, Array]:
    """Its line of ONNX text, its input and its weight, of 1 to 3 axes."""
    rank = draw(st.integers(1, 3))

    def each(least: int, most: int) -> list[int]:
        return draw(st.lists(st.integers(least, most), min_size=rank, max_size=rank))

    op = draw(st.sampled_from(["Conv", "ConvTranspose"]))
    groups, inside, outside = (draw(st.integers(1, 3)) for _ in range(3))
    kernel, strides, dilations, sizes = each(1, 3), each(1, 3), each(1, 2), each(3, 6)
    attrs = {"group": groups, "strides": strides, "dilations": dilations, "kernel_shape": kernel}
    pad = draw(st.sampled_from(["pads", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    attrs |= {"pads": each(0, 2) + each(0, 2)} if pad == "pads" else {"auto_pad": f'"{pad}"'}
    if op == "ConvTranspose" and draw(st.booleans()):
        attrs["output_padding"] = [draw(st.integers(0, stride - 1)) for stride in strides]
    shape = (groups * inside, outside) if op == "ConvTranspose" else (groups * outside, inside)
    written = ", ".join(f"{name} = {value}" for name, value in attrs.items())
    x = normal(2, groups * inside, *sizes, seed=draw(st.integers(0, 9)))
    return f"y = {op} <{written}> (x, w)", x, normal(*shape, *kernel, seed=1)


def model(text: str, x: Array, w: Array) -> onnx.ModelProto:
    axes, free = ",".join(map(str, x.shape[1:])), ",".join("ABCDE"[: x.ndim])
    return parse(f"g (float[N,{axes}] x) => (float[{free}] y) {{ {text} }}", w=w)


def made(groups: int, y: Array) -> Array:
    """What a convolution makes, as [groups, outputs, positions]."""
    apart = y.reshape(len(y), groups, -1, math.prod(y.shape[2:]))
    return np.moveaxis(apart, 0, 2).reshape(groups, apart.shape[2], -1)


@settings(max_examples=300, deadline=None)
@given(convolutions())
def test_the_matrix_times_the_columns_is_the_output(given: tuple[str, Array, Array]) -> None:
    text, x, w = given
    source = load_model(model(text, x, w))
    node = to_graph(source).nodes[0]
    try:
        y = run(source, x=x)["y"]
    except ModelError:  # no output is left of it
        assume(False)
    assume(y.size > 0)
    windows = columns_of(node)
    positions = np.arange(windows.positions(x.shape))
    columns = windows.take(x, positions)
    assert columns.shape == (windows.groups, windows.size, len(positions))
    np.testing.assert_allclose(weight_matrix(node) @ columns, made(windows.groups, y), rtol=1e-4, atol=1e-4)
    some = positions[::-3]
    np.testing.assert_array_equal(windows.take(x, some), columns[:, :, some])


def test_an_output_shape_given_is_kept() -> None:
    text = "y = ConvTranspose <strides = [3, 2], output_shape = [11, 9]> (x, w)"
    x, w = normal(2, 3, 4, 4), normal(3, 5, 3, 3)
    source = load_model(model(text, x, w))
    node = to_graph(source).nodes[0]
    windows = columns_of(node)
    columns = windows.take(x, np.arange(windows.positions(x.shape)))
    np.testing.assert_allclose(weight_matrix(node) @ columns, made(1, run(source, x=x)["y"]), rtol=1e-4, atol=1e-4)


def test_columns_are_the_windows_that_a_loop_finds() -> None:
    windows = Windows(1, 2, (3, 2), (2, 1), (1, 2), (1, 0, 1, 1))
    x = normal(1, 2, 5, 6)
    padded = np.pad(x[0], ((0, 0), (1, 1), (0, 1)))
    columns = windows.take(x, np.arange(windows.positions(x.shape)))
    heights, widths = range(0, 5, 2), range(5)
    expected = [padded[:, i : i + 3, j : j + 3 : 2].ravel() for i in heights for j in widths]
    np.testing.assert_array_equal(columns[0].T, expected)
    assert replace(windows, groups=2, channels=1).size == 6
