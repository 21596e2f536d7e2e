"""Regions of whole graphs: where they begin and end, what leaves them, and that any factors may be spread over them."""

import time
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from hypothesis import given, settings

from onnxq.channel_flow import Region, regions
from onnxq.passes import DropIdle, FoldBatchNorm, FoldConstants
from onnxq.testing import normal, parse, reads, run, workspace
from onnxq.workspace import Workspace
from random_graphs import Network, networks
from spreading import spread

LAYERS: dict[str, Any] = {f"w{i}": normal(4, 4, 1, 1, seed=i) for i in range(6)}
DEPTHWISE = normal(4, 1, 3, 3)


def net(body: str, outputs: str = "y", **constants: Any) -> Workspace:
    """Of layers of 4 channels; [names] are those of the nodes."""
    values = ", ".join(f"float[{','.join(name + side for side in 'ABCD')}] {name}" for name in outputs.split())
    text = f"g (float[N,4,6,6] x) => ({values}) {{ {body} }}"
    given: dict[str, Any] = {name: np.asarray(array) for name, array in {**LAYERS, "d": DEPTHWISE, **constants}.items()}
    return workspace(parse(text, **{name: array for name, array in given.items() if reads(body, name)}))


def ends(region: Region) -> tuple[list[str], list[str]]:
    return [end.node.name for end in region.makers], [end.node.name for end in region.takers]


def test_a_depthwise_triple_is_two_regions() -> None:
    layers = "[pw] a = Conv(x, w0) b = Relu(a) [dw] c = Conv<group=4>(b, d) e = Relu(c) [project] y = Conv(e, w1)"
    first, second = regions(net(layers).graph)
    assert (ends(first), ends(second)) == ((["pw"], ["dw"]), (["dw"], ["project"]))
    assert [node.op for node in first.through] == ["Relu"]
    assert sorted(first.tensors) == ["a", "b"]
    assert not first.joined
    assert first.free


def test_the_stream_of_a_residual_network_is_one_region() -> None:
    block = "[in{0}] a{0} = Conv(s{0}, w{0}) r{0} = Relu(a{0}) [out{0}] m{0} = Conv(r{0}, v{0}) q{0} = Add(m{0}, s{0}) "
    block += "s{1} = Relu(q{0}) "
    text = "[stem] s0 = Conv(x, w5) " + "".join(block.format(i, i + 1) for i in range(3)) + "[head] y = Conv(s3, w4)"
    second: dict[str, Any] = {f"v{i}": normal(4, 4, 1, 1, seed=10 + i) for i in range(3)}
    found = regions(net(text, **second).graph)
    assert len(found) == 4
    (stream,) = (region for region in found if region.joined)
    assert ends(stream) == (["stem", "out0", "out1", "out2"], ["in0", "in1", "in2", "head"])
    assert stream.count == 4
    assert stream.free


def test_a_sum_of_a_layer_with_the_input_cannot_be_multiplied() -> None:
    assert not [r for r in regions(net("a = Conv(x, w0) b = Add(a, x) y = Conv(b, w1)").graph) if r.free]


@pytest.mark.parametrize(("kept", "tensor"), [("a", "a"), ("b", "b"), ("c", "c")])
def test_outputs_in_the_middle_of_the_graph_are_fixed(kept: str, tensor: str) -> None:
    layers = "[one] a = Conv(x, w0) b = Relu(a) c = Neg(b) [two] e = Conv(c, w1) f = Relu(e) [three] y = Conv(f, w2)"
    first, second = regions(net(layers, f"y {kept}").graph)
    assert first.fixed.all()
    assert first.reasons == (f"{tensor!r} is an output of the model",)
    assert second.free


@pytest.mark.parametrize("read", ["a", "b"])
def test_what_a_body_reads_is_fixed(read: str) -> None:
    body = f"""a = Conv(x, w0) b = Relu(a) y = Conv(b, w1) t = Cast<to=9>(n)
        z = If(t) <then_branch = p () => (float u) {{ u = Neg({read}) }},
                   else_branch = q () => (float o) {{ o = Exp(x) }}>"""
    (region,) = regions(net(body, "y z", n=np.array(1)).graph)
    assert region.fixed.all()
    assert region.reasons == (f"{read!r} is read in the body of an If, Loop or Scan",)


def test_what_a_loop_takes_is_fixed() -> None:
    body = """a = Conv(x, w0) b = Relu(a) y = Conv(b, w1)
        z = Loop(n, , b) <body = p (int64 i, bool c, float[N,4,6,6] u) => (bool k, float[N,4,6,6] o) {
            k = Identity(c) o = Neg(u) }>"""
    (region,) = regions(net(body, "y z", n=np.array(2)).graph)
    assert region.fixed.all()


def test_a_reader_that_stands_before_the_maker_is_not_overlooked() -> None:
    space = net("[one] a = Conv(x, w0) b = Relu(a) [two] y = Conv(b, w1) [odd] z = Exp(b)", "y z")
    nodes = space.graph.nodes
    nodes.insert(0, nodes.pop(next(i for i, node in enumerate(nodes) if node.name == "odd")))
    assert not [region for region in regions(space.graph) if region.free]


def test_channels_of_one_region_may_be_fixed_and_free() -> None:
    body = "a = Conv(x, w0) b, c = Split<axis=1>(a, halves) z = Exp(b) e = Concat<axis=1>(b, c) y = Conv(e, w1)"
    space = net(body, "y z", halves=np.array([1, 3]))
    (region,) = regions(space.graph)
    assert region.fixed.tolist() == [True, False, False, False]
    assert region.free
    x = normal(2, 4, 6, 6)
    before = run(space, x=x)
    spread(space)
    after = run(space, x=x)
    np.testing.assert_array_equal(after["z"], before["z"])
    np.testing.assert_allclose(after["y"], before["y"], atol=1e-4)


def test_clips_are_followed_if_they_clip_nothing() -> None:
    space = net("a = Conv(x, w0) [act] b = Clip(a, low, high) y = Conv(b, w1)", low=np.float32(0), high=np.float32(6))
    assert regions(space.graph) == []
    assert regions(space.graph, lambda clip: clip.name == "other") == []
    (region,) = regions(space.graph, lambda clip: clip.name == "act")
    assert [node.name for node in region.through] == ["act"]


def test_a_layer_nobody_reads_ends_no_region() -> None:
    assert regions(net("a = Conv(x, w0) y = Exp(a)").graph) == []
    assert regions(net("y = Exp(x)").graph) == []


@settings(max_examples=150, deadline=None)
@given(networks())
def test_any_factors_may_be_spread_over_random_networks(network: Network) -> None:
    space, x = workspace(network.model()), normal(3, 4, 6, 6, seed=12)
    for fold in (FoldConstants(), DropIdle(), FoldBatchNorm()):
        fold(space)
    before = run(space, x=x)
    spread(space)
    for name, array in run(space, x=x).items():
        np.testing.assert_allclose(array, before[name], rtol=1e-3, atol=1e-4 * (1 + np.abs(before[name]).max()))


@pytest.mark.parametrize(("blocks", "channels"), [(2000, 16), (300, 2048)])
def test_it_takes_time_in_proportion_to_the_graph(blocks: int, channels: int) -> None:
    """A stream of depthwise blocks of three nodes: 6,000 of them, or channels enough for any network."""
    shape = ["N", channels, 1, 1]
    stream, nodes = gs.Variable("x", np.float32, shape), []
    source = stream
    weight = np.ones((channels, 1, 1, 1), np.float32)
    for at in range(blocks):
        made, active, summed = (gs.Variable(f"{name}{at}", np.float32, shape) for name in "ars")
        constant = gs.Constant(f"w{at}", weight)
        nodes.append(gs.Node("Conv", f"conv{at}", {"group": channels}, [stream, constant], [made]))
        nodes.append(gs.Node("Relu", f"relu{at}", {}, [made], [active]))
        nodes.append(gs.Node("Add", f"add{at}", {}, [active, stream if at else active], [summed]))
        stream = summed
    graph = gs.Graph(nodes, [source], [stream], opset=17)
    begin = time.process_time()
    (region,) = regions(graph)
    assert time.process_time() - begin < 3
    assert (region.count, len(region.makers), len(region.takers)) == (channels, blocks, blocks - 1)
