"""Factors give every channel at every end of a region one range, however unlike they were before."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.channel_factor import multiply
from onnxq.channel_flow import Region, regions
from onnxq.equal_ranges import ACTIVATIONS, factors, read_tensors
from onnxq.testing import Array, normal, parse, reads, workspace
from onnxq.workspace import Workspace

ANY = -np.inf  # whatever is gained
LOUD = np.exp(1.5 * normal(4, seed=9))


def net(body: str, **constants: Array) -> Workspace:
    held: dict[str, Any] = {name: array for name, array in constants.items() if reads(body, name)}
    return workspace(parse(f"g (float[N,4,6,6] x) => (float[N,P,Q,R] y) {{ {body} }}", **held))


def solved(space: Workspace, gain_db: float = ANY, **reaches: Array) -> list[Region]:
    """The regions, multiplied by the factors found."""
    found = regions(space.graph)
    for region, factor in zip(found, factors(found, reaches, gain_db), strict=True):
        multiply(space, region, factor)
    return found


def weight(space: Workspace, name: str) -> Array:
    node = next(node for node in space.graph.nodes if node.name == name)
    return np.abs(np.asarray(node.inputs[1].values, np.float64))


def rows(space: Workspace, name: str) -> Array:
    """What the weights of every channel reach that the layer makes."""
    found = weight(space, name)
    return np.asarray(found.reshape(len(found), -1).max(axis=1))


def columns(space: Workspace, name: str) -> Array:
    """What the weights of every channel reach that the layer, of one group, reads."""
    return np.asarray(np.moveaxis(weight(space, name), 1, 0).reshape(weight(space, name).shape[1], -1).max(axis=1))


def alike(*reaches: Array) -> None:
    for reach in reaches:
        np.testing.assert_allclose(reach / reach[0], 1, rtol=2e-3)


PAIR = "[one] a = Conv(x, v) b = Relu(a) [two] y = Conv(b, w)"
LAYERS = {"v": normal(4, 4, 3, 3), "w": normal(3, 4, 1, 1, seed=1)}


def test_both_layers_of_a_pair_reach_the_geometric_mean() -> None:
    """Nagel et al. 2019, eq. 11, but for one factor of the whole layer."""
    space = net(PAIR, **LAYERS)
    r1, r2 = rows(space, "one"), columns(space, "two")
    solved(space)
    for after in (rows(space, "one"), columns(space, "two")):
        common = after / np.sqrt(r1 * r2)
        alike(common)


def test_the_ends_of_a_depthwise_triple_all_come_to_one_range() -> None:
    body = "[one] a = Conv(x, v) b = Relu(a) [dw] c = Conv<group=4>(b, d) e = Relu(c) [two] y = Conv(e, w)"
    space = net(body, **LAYERS, d=normal(4, 1, 3, 3) * LOUD.reshape(4, 1, 1, 1))
    mean = np.cbrt(rows(space, "one") * rows(space, "dw") * columns(space, "two"))
    solved(space)
    alike(rows(space, "one") / mean, rows(space, "dw") / mean, columns(space, "two") / mean)


@pytest.mark.parametrize(
    ("first", "second", "axes"),
    [
        ("a = Conv<group=2>(x, v)", "y = Conv<group=2>(b, w)", ((0, 0), (0, 1))),
        ("a = ConvTranspose(x, v)", "y = Conv(b, w)", ((1, 1), (1, 1))),
        ("a = Conv(x, v)", "y = ConvTranspose(b, w)", ((0, 0), (0, 0))),
    ],
)
def test_groups_and_transposed_layers(first: str, second: str, axes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    shapes = {"Conv<group=2>": (4, 2, 3, 3), "Conv(": (4, 4, 3, 3), "ConvTranspose(": (4, 4, 3, 3)}
    made, read = (next(shape for op, shape in shapes.items() if f" {op}" in text) for text in (first, second))
    space = net(f"[one] {first} b = Relu(a) [two] {second}", v=normal(*made), w=normal(*read, seed=1))
    r1, r2 = _reach(weight(space, "one"), axes[0][0]), _by_input(space, second)
    solved(space)
    alike(_reach(weight(space, "one"), axes[0][0]) / np.sqrt(r1 * r2), _by_input(space, second) / np.sqrt(r1 * r2))


def _reach(found: Array, axis: int) -> Array:
    return np.asarray(np.moveaxis(found, axis, 0).reshape(found.shape[axis], -1).max(axis=1))


def _by_input(space: Workspace, text: str) -> Array:
    found = weight(space, "two")
    if "ConvTranspose" in text:
        return _reach(found, 0)
    groups = 2 if "group=2" in text else 1
    return np.concatenate([_reach(part, 1) for part in np.split(found, groups)])


def test_matrices_of_any_layout() -> None:
    body = "p = GlobalAveragePool(x) f = Flatten(p) [one] a = Gemm<transB=1>(f, m) b = Relu(a) [two] y = MatMul(b, n)"
    text = f"g (float[N,4,6,6] x) => (float[N,3] y) {{ {body} }}"
    space = workspace(parse(text, m=normal(5, 4), n=normal(5, 3, seed=1)))
    r1, r2 = rows(space, "one"), rows(space, "two")
    solved(space)
    alike(rows(space, "one") / np.sqrt(r1 * r2), rows(space, "two") / np.sqrt(r1 * r2))


def test_an_activation_is_an_end_that_counts_less() -> None:
    space = net(PAIR, **LAYERS)
    (region,) = regions(space.graph)
    (factor,) = factors([region], {"b": LOUD}, ANY)
    ends = np.log(columns(space, "two")) - np.log(rows(space, "one")) - ACTIVATIONS * np.log(LOUD)
    alike(np.exp(np.log(factor) - ends / (2 + ACTIVATIONS)))


def test_a_residual_stream_is_a_compromise_of_all_its_ends() -> None:
    body = (
        "[one] a = Conv(x, v) [in] b = Conv(a, w0) r = Relu(b) [out] c = Conv(r, w1) s = Add(a, c) [two] y = Conv(s, w)"
    )
    space = net(body, **LAYERS, w0=normal(5, 4, 1, 1, seed=2) * LOUD.reshape(1, 4, 1, 1), w1=normal(4, 5, 1, 1, seed=3))
    solved(space)
    made = [np.log(rows(space, name)) for name in ("one", "out")]
    read = [np.log(columns(space, name)) for name in ("in", "two")]
    wanted = [reach - reach.mean() for reach in (*made, *(-reach for reach in read))]
    np.testing.assert_allclose(sum(wanted), 0, atol=5e-3)


def test_dead_channels_keep_their_weights() -> None:
    v, w = LAYERS["v"].copy(), LAYERS["w"].copy()
    v[1], w[:, 1] = 0, 0
    space = net(PAIR, v=v, w=w)
    (region,) = regions(space.graph)
    (factor,) = factors([region], {"b": np.array([1.0, 0, 2, 3])}, ANY)
    assert factor[1] == 1
    assert np.isfinite(factor).all()
    assert factor[0] != 1


def test_all_channels_may_be_dead() -> None:
    space = net(PAIR, v=np.zeros((4, 4, 3, 3), np.float32), w=np.zeros((3, 4, 1, 1), np.float32))
    (region,) = regions(space.graph)
    (factor,) = factors([region], {"b": np.zeros(4)}, ANY)
    np.testing.assert_array_equal(factor, 1)


def test_no_channel_is_multiplied_by_more_than_twelve_bits() -> None:
    v = LAYERS["v"] * np.array([1, 1, 1, 2e-3], np.float32).reshape(4, 1, 1, 1)
    w = LAYERS["w"] * np.array([1, 1, 1, 2e3], np.float32).reshape(1, 4, 1, 1)
    (factor,) = factors(regions(net(PAIR, v=v, w=w).graph), {}, ANY)
    assert (np.abs(np.log2(factor)) < 12.01).all()


def test_fixed_channels_keep_their_factor() -> None:
    parts = "b, c = Split<axis=1>(a, halves) d = Exp(b) e = Concat<axis=1>(d, c, b)"
    body = f"[one] a = Conv(x, v) {parts} [two] y = Conv(e, k)"
    space = net(body, v=LAYERS["v"], k=normal(3, 5, 1, 1), halves=np.array([1, 3]))
    found = regions(space.graph)
    (region,) = found
    (factor,) = factors(found, {}, ANY)
    assert (factor[region.fixed] == 1).all()
    assert region.fixed.sum() == 2
    assert (factor[~region.fixed] != 1).all()


def test_a_region_that_gains_too_little_is_left_alone() -> None:
    spread = {"v": LAYERS["v"] * LOUD.reshape(4, 1, 1, 1), "w": LAYERS["w"] / LOUD.reshape(1, 4, 1, 1)}
    space = net(PAIR, **spread)
    found = regions(space.graph)
    r1, r2 = rows(space, "one"), columns(space, "two")
    solved(space)

    def headroom(reach: Array) -> float:
        return float(20 * np.log10(reach.max()) - 20 * np.log10(reach).mean())

    gained = (headroom(r1) + headroom(r2) - headroom(rows(space, "one")) - headroom(columns(space, "two"))) / 2
    assert gained > 1
    fresh = regions(net(PAIR, **spread).graph)
    assert np.all(factors(fresh, {}, gained + 0.01)[0] == 1)
    assert np.any(factors(fresh, {}, gained - 0.01)[0] != 1)
    assert np.all(factors(found, {}, 0.01)[0] == 1)  # it has no more to gain


def test_layers_whose_weights_are_not_finite_want_nothing() -> None:
    w = LAYERS["w"].copy()
    w[0, 0] = np.inf
    (region,) = regions(net(PAIR, v=LAYERS["v"], w=w).graph)
    free = Region(**{**vars(region), "fixed": np.zeros(4, np.bool_)})
    (factor,) = factors([free], {}, ANY)
    assert np.isfinite(factor).all()


def test_read_tensors_are_named_once() -> None:
    body = "a = Conv(x, v) b = Relu(a) c = Conv(b, w) d = Conv(b, k) e = Conv(a, k2) f = Sum(c, d, e) y = Relu(f)"
    space = net(body, **LAYERS, k=normal(3, 4, 1, 1), k2=normal(3, 4, 1, 1, seed=2))
    (region,) = regions(space.graph)
    assert list(read_tensors(region)) == ["b", "a"]


NETS = {
    "pair": PAIR,
    "triple": "[one] a = Conv(x, v) b = Relu(a) [dw] c = Conv<group=4>(b, d) e = Relu(c) [two] y = Conv(e, w)",
    "stream": "[one] a = Conv(x, v) [dw] b = Conv<group=4, pads=[1,1,1,1]>(a, d) s = Add(a, b) [two] y = Conv(s, w)",
    "groups": "[one] a = Conv(x, v) [dw] b = Conv<group=2>(a, g) c = Relu(b) [two] y = Conv(c, w)",
    "concat": "[one] a = Conv(x, v) [dw] b = Conv(x, g2) c = Concat<axis=1>(b, a) r = Relu(c) [two] y = Conv(r, w8)",
}
CONSTANTS = {**LAYERS, "d": normal(4, 1, 3, 3), "g": normal(4, 2, 3, 3), "g2": normal(4, 4, 3, 3, seed=4)}
CONSTANTS["w8"] = normal(2, 8, 1, 1)


@pytest.mark.parametrize("name", NETS)
@settings(max_examples=15, deadline=None)
@given(st.data())
def test_however_factors_were_spread_before_the_weights_come_out_the_same(name: str, data: st.DataObject) -> None:
    """But for one factor of a whole layer, which a scale takes back."""
    activations = data.draw(st.booleans())
    plain, spread = net(NETS[name], **CONSTANTS), net(NETS[name], **CONSTANTS)
    random = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    reaches = {tensor: np.exp(normal(8)[:4].astype(np.float64)) for tensor in "abes"} | {"r": np.exp(normal(8) * 1.0)}
    moved = dict(reaches)
    for region in regions(spread.graph):
        factor = np.exp(random.uniform(-1.5, 1.5, region.count))
        multiply(spread, region, factor)
        for tensor in read_tensors(region):
            if tensor in reaches:
                moved[tensor] = reaches[tensor] * factor[region.tensors[tensor].numbers]
    solved(plain, **(reaches if activations else {}))
    solved(spread, **(moved if activations else {}))
    for node in ("one", "dw", "two"):
        if name != "pair" or node != "dw":
            ratio = weight(spread, node) / weight(plain, node)
            np.testing.assert_allclose(ratio / ratio.flat[0], 1, rtol=5e-3)


def test_ends_of_many_regions_at_once() -> None:
    """A chain of depthwise layers, whose factors depend on each other all along."""
    count = 12
    layers = [f"[l{i}] t{i + 1} = Conv<group=4>(t{i}, d{i})" for i in range(count)]
    text = "[one] t0 = Conv(x, v) " + " ".join(layers) + f" [two] y = Conv(t{count}, w)"
    weights: dict[str, Array] = {f"d{i}": normal(4, 1, 1, 1, seed=20 + i) for i in range(count)}
    space = net(text, **LAYERS, **weights)
    found = solved(space)
    assert len(found) == count + 1
    spreads = [float(np.ptp(np.log(rows(space, f"l{i}")))) for i in range(count)]
    before = [float(np.ptp(np.log(np.abs(weights[f"d{i}"]).ravel()))) for i in range(count)]
    assert max(spreads) < 0.25 * max(before)
