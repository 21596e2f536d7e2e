"""Types of fewer than 8 bits, on their way from a graph to a file and back."""

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.model import export, to_graph
from onnxq.packing import PACKED, pack, packed_constant, packed_type, type_name, unpack_constants
from onnxq.scheme import Scheme
from onnxq.testing import parse, run

T = onnx.TensorProto


def ends(packed: int) -> tuple[int, int]:
    bits = PACKED[packed]
    return (0, (1 << bits) - 1) if type_name(packed).startswith("U") else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


@given(st.sampled_from(sorted(PACKED)), st.lists(st.integers(1, 5), max_size=3), st.integers(0, 2**32 - 1))
def test_packed_is_what_onnx_reads(packed: int, shape: list[int], seed: int) -> None:
    low, high = ends(packed)
    integers = np.random.default_rng(seed).integers(low, high, shape, endpoint=True)
    found = pack("w", integers, packed)
    assert np.array_equal(onnx.numpy_helper.to_array(found).astype(np.int64), integers)
    assert len(found.raw_data) == -(-integers.size * PACKED[packed] // 8)


@pytest.mark.parametrize(
    ("scheme", "narrowest", "found"),
    [
        (Scheme(True, True, 2), 2, "INT2"),
        (Scheme(True, True, 2), 4, "INT4"),
        (Scheme(False, False, 3), 2, "UINT4"),
        (Scheme(False, False, 4), 2, "UINT4"),
        (Scheme(True, True, 5), 2, None),
    ],
)
def test_the_type_that_holds_a_grid(scheme: Scheme, narrowest: int, found: str | None) -> None:
    packed = packed_type(scheme, narrowest)
    assert (None if packed is None else type_name(packed)) == found


def test_a_graph_holds_8_bits_and_its_model_4() -> None:
    source = parse("g (float[2,3] x) => (float[2,3] y) { [one] y = Add(x, b) }", 21, b=np.zeros(3, np.float32))
    graph = to_graph(source)
    integers = np.array([-8, 0, 7], np.int8)
    stored, wide = packed_constant("w", integers, T.INT4), gs.Variable("wide", np.float32, (3,))
    scale = gs.Constant("s", np.array(0.5, np.float32))
    graph.nodes.insert(0, gs.Node("DequantizeLinear", "dq", {}, [stored, scale], [wide]))
    graph.nodes[1].inputs[1] = wide
    for held in (graph, graph.copy()):
        model = export(held, source)
        onnx.checker.check_model(model, full_check=True)
        (found,) = [tensor for tensor in model.graph.initializer if tensor.name == "w"]
        assert found.data_type == T.INT4 and len(found.raw_data) == 2
        assert np.array_equal(run(model, x=np.zeros((2, 3), np.float32))["y"], [[-4, 0, 3.5]] * 2)
    assert np.array_equal(stored.values, integers) and stored.dtype == np.int8
    again = to_graph(model)
    unpack_constants(again)
    assert np.array_equal(again.tensors()["w"].values, integers)
    assert export(again, source).SerializeToString() == export(to_graph(model), source).SerializeToString()
