"""Operators that move channels: which of the layer's each of them is behind it, and that any factors may be spread."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.channel_flow import Region, regions
from onnxq.testing import normal, parse, reads, run, workspace
from onnxq.workspace import Workspace
from spreading import spread

I64 = np.int64
V, U = normal(4, 3, 1, 1), normal(4, seed=1)


def net(body: str, opset: int = 17, shape: str = "N,3,6,6", rank: int = 4, **constants: Any) -> Workspace:
    """A Conv named one, which makes ``a`` of 4 channels, and ``body``, which makes y and perhaps z."""
    text = f"[one] a = Conv(x, v, u) {body}"
    found: dict[str, Any] = {
        name: np.asarray(array) for name, array in {"v": V, "u": U, **constants}.items() if reads(text, name)
    }
    outputs = f"float[{','.join('ABCDE'[:rank])}] y" + (", float[P,Q,R,S] z" if " z = " in f" {text}" else "")
    return workspace(
        parse(f"g (float[{shape}] x) => ({outputs}) {{ {text} }}", opset, **found), {"x": normal(3, 3, 6, 6)}
    )


def kept(space: Workspace) -> list[Region]:
    """The regions, after random factors in all of them that left the function as it was."""
    x = normal(3, 3, 6, 6, seed=2)
    before = run(space, x=x)
    found = spread(space)
    for name, array in run(space, x=x).items():
        np.testing.assert_allclose(array, before[name], rtol=2e-4, atol=2e-4)
    return found


def numbers(region: Region, tensor: str = "b") -> list[int]:
    """Which of the region's channels those of the tensor are."""
    return list(region.tensors[tensor].numbers.tolist())


def weight(channels: int) -> Any:
    return normal(2, channels, 1, 1, seed=channels)


NONE = np.array([], np.float32)
SLICES = {  # starts, ends, axes, steps
    "some": ([1], [3], [1], [1], [1, 2]),
    "from the end": ([-2], [10**9], [1], [1], [2, 3]),
    "backwards": ([-1], [-(2**40)], [1], [-1], [3, 2, 1, 0]),
    "backwards, but for the first": ([3], [0], [1], [-1], [3, 2, 1]),
    "backwards from beyond the end": ([99], [-5], [-3], [-2], [3, 1]),
    "every other": ([-99], [99], [-3], [2], [0, 2]),
    "two axes": ([0, 1], [6, 3], [2, 1], [2, 1], [1, 2]),
    "another axis": ([1], [4], [3], [1], [0, 1, 2, 3]),
}


@pytest.mark.parametrize("name", SLICES)
def test_slice(name: str) -> None:
    *bounds, wanted = SLICES[name]
    found: dict[str, Any] = dict(zip(("s", "e", "ax", "st"), (np.array(part, I64) for part in bounds), strict=True))
    (region,) = kept(net("b = Slice(a, s, e, ax, st) y = Conv(b, w)", w=weight(len(wanted)), **found))
    assert numbers(region) == wanted
    assert region.count == 4
    assert region.free


def test_slice_of_the_first_axes_by_default() -> None:
    (region,) = kept(net("b = Slice(a, s, e) y = Conv(b, w)", w=weight(2), s=np.array([0, 1]), e=np.array([9, 3])))
    assert numbers(region) == [1, 2]
    (region,) = kept(net("b = Slice(a, s, e) y = Conv(b, w)", w=weight(4), s=np.array([1]), e=np.array([9])))
    assert numbers(region) == [0, 1, 2, 3]


def test_slice_at_places_that_are_computed() -> None:
    places = "s = Shape(x) n = Gather(s, two) k = Div(n, six) "
    more: dict[str, Any] = {
        "two": np.array([2]),
        "six": np.array([6]),
        "nine": np.array([9]),
        "axis1": np.array([1]),
        "axis2": np.array([2]),
    }
    last = "f = Relu(b) m = ReduceMean<axes=[1], keepdims=1>(f) y = Conv(m, w)"
    assert not [r for r in kept(net(f"{places} b = Slice(a, k, nine, axis1) {last}", w=weight(1), **more)) if r.free]
    (region,) = kept(net(f"{places} b = Slice(a, k, nine, axis2) y = Conv(b, w)", w=weight(4), **more))
    assert region.free
    space = net(f"{places} i = Neg(k) b = Slice(a, k, nine, i) y = Conv(b, w)", w=weight(4), **more)
    assert not [region for region in regions(space.graph) if region.free]


@pytest.mark.parametrize(
    ("body", "opset", "parts"),
    [
        ("b, c = Split<axis=1>(a, sizes)", 17, [[0], [1, 2, 3]]),
        ("b, c = Split<axis=-3>(a)", 13, [[0, 1], [2, 3]]),
        ("b, c = Split<axis=1, num_outputs=2>(a)", 18, [[0, 1], [2, 3]]),
        ("b, c = Split<axis=2>(a)", 13, [[0, 1, 2, 3], [0, 1, 2, 3]]),
    ],
)
def test_split(body: str, opset: int, parts: list[list[int]]) -> None:
    layers = "p = Conv(b, w) q = Conv(c, k) e = GlobalMaxPool(p) f = GlobalMaxPool(q) y = Sub(e, f)"
    widths: dict[str, Any] = {"w": normal(2, len(parts[0]), 1, 1), "k": normal(2, len(parts[1]), 1, 1, seed=3)}
    (region,) = kept(net(f"{body} {layers}", opset, sizes=np.array([1, 3]), **widths))
    assert [numbers(region, "b"), numbers(region, "c")] == parts
    assert len(region.takers) == 2


def test_parts_of_a_split_that_meet_again_in_another_order() -> None:
    (region,) = kept(
        net("c, d = Split<axis=1>(a) e = Relu(d) b = Concat<axis=1>(e, c) y = Conv(b, w)", 13, w=weight(4))
    )
    assert numbers(region) == [2, 3, 0, 1]


def test_parts_of_a_split_that_are_added_share_their_factors() -> None:
    (region,) = kept(net("c, d = Split<axis=1>(a) b = Add(c, d) y = Conv(b, w)", 13, w=weight(2)))
    assert (region.count, region.joined) == (2, True)
    assert numbers(region, "a") == [0, 1, 0, 1]


def test_concat_of_layers() -> None:
    body = "e = Conv(x, k) b = Concat<axis=1>(a, e, a) y = Conv(b, w)"
    (region,) = kept(net(body, w=weight(11), k=normal(3, 3, 1, 1)))
    assert numbers(region) == [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3]
    assert len(region.makers) == 2
    assert not region.fixed.any()


@pytest.mark.parametrize("foreign", ["e = Identity(x)", "s = Sigmoid(x) e = Neg(s)"])
def test_concat_with_what_is_not_multiplied(foreign: str) -> None:
    (region,) = kept(net(f"{foreign} b = Concat<axis=-3>(e, a) y = Conv(b, w)", w=weight(7)))
    assert sorted(region.fixed[numbers(region)].tolist(), reverse=True) == [True] * 3 + [False] * 4
    assert region.fixed[numbers(region)].tolist() == [True] * 3 + [False] * 4


def test_concat_with_a_constant() -> None:
    (region,) = kept(net("b = Concat<axis=1>(a, e) y = Conv(b, w)", w=weight(6), e=normal(3, 2, 6, 6), shape="3,3,6,6"))
    assert region.fixed[numbers(region)].tolist() == [False] * 4 + [True] * 2


def test_concat_along_another_axis_joins() -> None:
    (region,) = kept(net("e = Conv(x, k) b = Concat<axis=2>(a, e) y = Conv(b, w)", w=weight(4), k=normal(4, 3, 1, 1)))
    assert (region.count, region.joined) == (4, True)
    assert not [r for r in kept(net("e = Sigmoid(a) b = Concat<axis=2>(a, e) y = Conv(b, w)", w=weight(4))) if r.free]


def test_concat_of_channels_on_different_axes() -> None:
    body = "e = Conv(x, k) t = Transpose<perm=[0,2,1,3]>(e) b = Concat<axis=3>(a, t) y = Conv(b, w)"
    space = net(body, w=weight(4), k=normal(6, 3, 1, 1), shape="N,3,6,6")
    assert not [region for region in regions(space.graph) if region.free]


@pytest.mark.parametrize(
    ("indices", "axis", "wanted"),
    [([3, 0, 0, -1], 1, [3, 0, 0, 3]), ([1], -3, [1]), ([2, 1], 2, [0, 1, 2, 3])],
)
def test_gather(indices: list[int], axis: int, wanted: list[int]) -> None:
    body = f"b = Gather<axis={axis}>(a, i) y = Conv(b, w)"
    (region,) = kept(net(body, w=weight(len(wanted)), i=np.array(indices)))
    assert numbers(region) == wanted


def test_gather_of_one_pixel_or_token_drops_its_axis() -> None:
    more: dict[str, Any] = {"i": np.array(1), "m": normal(4, 2), "to": np.array([0, 4, 36])}
    body = "r = Reshape(a, to) t = Transpose<perm=[0,2,1]>(r) b = Gather<axis=1>(t, i) y = MatMul(b, m)"
    (region,) = kept(net(body, rank=2, **more))
    assert (region.tensors["b"].axis, region.tensors["b"].rank) == (1, 2)
    (region,) = kept(net("c = Gather<axis=3>(a, i) b = Gather<axis=2>(c, i) y = MatMul(b, m)", rank=2, **more))
    assert (region.tensors["b"].axis, region.tensors["b"].rank) == (1, 2)


def test_gather_of_several_pixels_adds_axes() -> None:
    body = "c = Gather<axis=2>(a, i) b = Transpose<perm=[0,2,3,4,1]>(c) y = MatMul(b, m)"
    (region,) = kept(net(body, rank=5, i=np.array([[0, 1], [2, 3]]), m=normal(4, 2)))
    assert region.tensors["c"].axis == 1
    body = "t = Transpose<perm=[0,2,3,1]>(a) b = Gather<axis=1>(t, i) y = MatMul(b, m)"
    (region,) = kept(net(body, rank=5, i=np.array([[0, 1], [2, 3]]), m=normal(4, 2)))
    assert (region.tensors["b"].axis, region.tensors["b"].rank) == (4, 5)


def test_gather_of_one_channel_or_at_run_time() -> None:
    body = "c = Gather<axis=1>(a, i) b = Unsqueeze(c, axis) y = Conv(b, w)"
    assert not [r for r in kept(net(body, w=weight(1), i=np.array(2), axis=np.array([1]))) if r.free]
    body = "m = ArgMax<axis=1, keepdims=0>(v) r = Reshape(m, flat) b = Gather<axis=1>(a, r) y = Conv(b, w)"
    assert not [r for r in kept(net(body, w=weight(4), flat=np.array([-1]))) if r.free]


PADS: dict[str, Any] = {
    "pixels": ("Pad(a, p)", 17, {"p": [0, 0, 1, 1, 0, 0, 1, 1]}, 4),
    "pixels by reflection": ('Pad<mode="reflect">(a, p)', 17, {"p": [0, 0, 1, 1, 0, 0, 1, 1]}, 4),
    "cropped": ("Pad(a, p)", 17, {"p": [0, 0, -1, 0, 0, 0, 0, -2]}, 4),
    "by a zero that is said": ("Pad(a, p, zero)", 17, {"p": [0, 0, 1, 1, 0, 0, 1, 1]}, 4),
    "some axes": ("Pad(a, p, zero, ax)", 18, {"p": [1, 2, 3, 0], "ax": [2, -1]}, 4),
    "channels by axes": ("Pad(a, p, zero, ax)", 18, {"p": [0, 1, 0, 2], "ax": [2, -3]}, 7),
    "channels": ("Pad(a, p)", 17, {"p": [0, 1, 0, 0, 0, 2, 0, 0]}, 7),
}


@pytest.mark.parametrize("name", PADS)
def test_pad(name: str) -> None:
    node, opset, constants, channels = PADS[name]
    arrays: dict[str, Any] = {key: np.array(value) for key, value in constants.items()}
    (region,) = kept(
        net(f"b = {node} y = Conv(b, w)", opset, w=weight(channels), zero=np.array(0, np.float32), **arrays)
    )
    assert not region.fixed.any()
    assert region.count == channels
    assert [numbers(region).index(number) for number in numbers(region, "a")] == [i + (channels > 4) for i in range(4)]


@pytest.mark.parametrize(
    ("node", "constants", "channels"),
    [
        ("Pad(a, p, one)", {"p": [0, 0, 1, 1, 0, 0, 1, 1]}, 4),
        ('Pad<mode="reflect">(a, p)', {"p": [0, 1, 0, 0, 0, 0, 0, 0]}, 5),
        ('Pad<mode="edge">(a, p)', {"p": [0, 0, 0, 0, 0, 1, 0, 0]}, 5),
        ("Pad(a, p)", {"p": [0, -1, 0, 0, 0, 0, 0, 0]}, 3),
    ],
)
def test_pads_that_channels_do_not_survive(node: str, constants: dict[str, list[int]], channels: int) -> None:
    arrays: dict[str, Any] = {key: np.array(value) for key, value in constants.items()}
    space = net(f"b = {node} y = Conv(b, w)", w=weight(channels), one=np.array(1, np.float32), **arrays)
    assert not [region for region in kept(space) if region.free]


REDUCED = {
    "ReduceMean<axes=[2,3]>(a)": 17,
    "ReduceMax<axes=[-1,-2]>(a)": 17,
    "ReduceMin<axes=[3]>(a)": 13,
    "ReduceSum(a, pixels)": 13,
    "ReduceMean(a, pixels)": 18,
    "ReduceMax(a, pixels)": 20,
    "ReduceSum<noop_with_empty_axes=1>(a)": 13,
    "ReduceMean<noop_with_empty_axes=1>(a, nothing)": 18,
}


@pytest.mark.parametrize("node", REDUCED)
def test_reduced_over_pixels(node: str) -> None:
    more: dict[str, Any] = {"pixels": np.array([2, -1]), "nothing": np.zeros(0, I64)}
    (region,) = kept(net(f"b = {node} y = Conv(b, w)", REDUCED[node], w=weight(4), **more))
    assert not region.fixed.any()


@pytest.mark.parametrize(
    ("node", "opset"),
    [
        ("ReduceMean(a)", 17),
        ("ReduceSum(a, nothing)", 17),
        ("ReduceMean<keepdims=1>(a, nothing)", 18),
        ("ReduceMax<axes=[1]>(a)", 17),
        ("ReduceL2<axes=[2]>(a)", 17),
        ("ReduceLogSum<axes=[2]>(m)", 17),
    ],
)
def test_reduced_over_channels_or_otherwise(node: str, opset: int) -> None:
    body = f"m = Abs(a) b = {node} c = Add(b, k) y = Conv(c, w)"
    space = net(body, opset, w=weight(4), k=np.zeros((1, 4, 1, 1), np.float32), nothing=np.zeros(0, I64))
    assert not [region for region in kept(space) if region.free]


@pytest.mark.parametrize(
    ("body", "axis"),
    [
        ("b = ReduceMean<axes=[2,3], keepdims=0>(a) y = MatMul(b, m)", 1),
        ("t = Transpose<perm=[0,2,3,1]>(a) b = ReduceMax<axes=[1,2], keepdims=0>(t) y = MatMul(b, m)", 1),
        ("t = Transpose<perm=[2,3,0,1]>(a) b = ReduceMax<axes=[0,1], keepdims=0>(t) y = MatMul(b, m)", 1),
    ],
)
def test_reduced_axes_go(body: str, axis: int) -> None:
    (region,) = kept(net(body, rank=2, m=normal(4, 2)))
    assert (region.tensors["b"].axis, region.tensors["b"].rank) == (axis, 2)


RESIZED = [
    ('Resize<mode="nearest">(a, , scales)', 17),
    ('Resize<mode="linear">(a, , scales)', 17),
    ('Resize<mode="cubic">(a, , , sizes)', 17),
    ('Resize<mode="linear", axes=[2,3], antialias=1>(a, , , two)', 18),
]


@pytest.mark.parametrize(("node", "opset"), RESIZED)
def test_resize(node: str, opset: int) -> None:
    more: dict[str, Any] = {
        "scales": np.array([1, 1, 2, 1.5], np.float32),
        "sizes": np.array([3, 4, 9, 5]),
        "two": np.array([9, 5]),
    }
    (region,) = kept(net(f"b = {node} y = Conv(b, w)", opset, w=weight(4), shape="3,3,6,6", **more))
    assert not region.fixed.any()


def test_resize_of_channels() -> None:
    body = 'b = Resize<mode="linear">(a, , scales) y = Conv(b, w)'
    space = net(body, w=weight(8), scales=np.array([1, 2, 1, 1], np.float32))
    assert not [region for region in kept(space) if region.free]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("b = SpaceToDepth<blocksize=2>(a) y = Conv(b, w16)", [0, 1, 2, 3] * 4),
        ("b = DepthToSpace<blocksize=2>(a) y = Conv(b, w1)", [0]),
        ('b = DepthToSpace<blocksize=2, mode="CRD">(a) y = Conv(b, w1)', [0]),
        ("c = Conv(a, deep) b = DepthToSpace<blocksize=2>(c) y = Conv(b, w2)", [0, 1]),
        ('c = Conv(a, deep) b = DepthToSpace<blocksize=2, mode="CRD">(c) y = Conv(b, w2)', [0, 1]),
    ],
)
def test_depth_and_space(body: str, wanted: list[int]) -> None:
    more: dict[str, Any] = {"w16": weight(16), "w1": weight(1), "w2": weight(2), "deep": normal(8, 4, 1, 1)}
    region = kept(net(body, **more))[-1]
    assert numbers(region) == wanted
    assert not region.fixed.any()


VIEWS = {
    "flattened": ("b = Flatten(a)", [c for c in range(4) for _ in range(36)]),
    "pooled and flattened": ("p = GlobalAveragePool(a) b = Flatten(p)", [0, 1, 2, 3]),
    "pooled and squeezed": ("p = GlobalAveragePool(a) b = Squeeze(p, pixels)", [0, 1, 2, 3]),
    "reshaped": ("p = GlobalAveragePool(a) b = Reshape(p, flat)", [0, 1, 2, 3]),
    "reshaped for any batch": ("p = GlobalAveragePool(a) b = Reshape(p, any)", [0, 1, 2, 3]),
}
SHAPES: dict[str, Any] = {
    "pixels": np.array([2, 3]),
    "flat": np.array([0, -1]),
    "any": np.array([-1, 4]),
    "two": np.array([-1, 2, 1, 2]),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("batch", ["N", "3"])
def test_views_into_vectors(name: str, batch: str) -> None:
    body, wanted = VIEWS[name]
    space = net(f"{body} y = Gemm(b, m)", rank=2, shape=f"{batch},3,6,6", m=normal(len(wanted), 2), **SHAPES)
    (region,) = kept(space)
    assert numbers(region) == wanted
    assert not region.fixed.any()


TOKENS = "r = Reshape(a, pixels) t = Transpose<perm=[0,2,1]>(r) {} y = MatMul(b, m)"
PIXELS: dict[str, Any] = {"pixels": np.array([0, 4, 36]), "m": normal(4, 2)}


@pytest.mark.parametrize(
    ("view", "shape", "rank"),
    [
        ("b = Reshape(t, to)", [-1, 4], 2),
        ("b = Reshape(t, to)", [-1, 6, 6, 4], 4),
        ("h = Reshape(t, to) b = Squeeze(h, second)", [0, 1, 36, 4], 3),
        ("b = Unsqueeze(t, second)", [], 4),
    ],
)
def test_views_into_tokens(view: str, shape: list[int], rank: int) -> None:
    more: dict[str, Any] = {"to": np.array(shape), "second": np.array([1])}
    (region,) = kept(net(TOKENS.format(view), rank=rank, **more, **PIXELS))
    assert numbers(region) == [0, 1, 2, 3]
    assert not region.fixed.any()


@pytest.mark.parametrize(
    "body",
    [
        TOKENS.format("h = Reshape(t, heads) b = Reshape(h, back)"),
        "p = GlobalAveragePool(a) q = Reshape(p, two) b = Flatten(q) y = Gemm(b, m)",
    ],
    ids=["heads", "groups"],
)
def test_views_that_take_channels_apart(body: str) -> None:
    more: dict[str, Any] = {"heads": np.array([0, 36, 2, 2]), "back": np.array([0, 36, 4])}
    rank = 2 if "Gemm" in body else 3
    space = net(body, rank=rank, **{**SHAPES, **PIXELS, **more})
    assert not [region for region in kept(space) if region.free]


def test_axes_in_another_order() -> None:
    (region,) = kept(net("t = Transpose(a) b = Transpose<perm=[3,1,0,2]>(t) y = MatMul(b, m)", m=normal(4, 2)))
    assert [region.tensors[name].axis for name in "atb"] == [1, 2, 3]
    assert region.free


@pytest.mark.parametrize("shape", ["N,3,H,W", "3,3,H,W"])
def test_pixels_of_any_number(shape: str) -> None:
    more: dict[str, Any] = {"pixels": np.array([0, 4, -1]), "m": normal(4, 2)}
    (region,) = kept(
        net("r = Reshape(a, pixels) b = Transpose<perm=[0,2,1]>(r) y = MatMul(b, m)", rank=3, shape=shape, **more)
    )
    assert not region.fixed.any()


@settings(max_examples=200, deadline=None)
@given(st.permutations(range(4)), st.data())
def test_any_view_carries_what_it_may(order: list[int], data: st.DataObject) -> None:
    """Channels of a Conv, transposed, cut and joined anyhow, before a matrix."""
    flat = 2 * 4 * 6 * 6
    first = data.draw(st.sampled_from([n for n in range(1, flat + 1) if flat % n == 0]))
    second = data.draw(st.sampled_from([n for n in range(1, flat // first + 1) if flat // first % n == 0]))
    shape = np.array([first, second, flat // first // second])
    body = f"t = Transpose<perm=[{','.join(map(str, order))}]>(a) b = Reshape(t, shape) y = MatMul(b, m)"
    text = f"g (float[2,3,6,6] x) => (float[A,B,C] y) {{ [one] a = Conv(x, v, u) {body} }}"
    space, x = workspace(parse(text, v=V, u=U, shape=shape, m=normal(int(shape[2]), 2))), normal(2, 3, 6, 6)
    before = run(space, x=x)["y"]
    spread(space)
    np.testing.assert_allclose(run(space, x=x)["y"], before, rtol=2e-4, atol=2e-4)
