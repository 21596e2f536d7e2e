"""Operators with their work and bytes, against counts by hand."""

import numpy as np
import onnx
import pytest

from onnxq.inputs import input_specs
from onnxq.inspection.contents import Contents, Initializer, Operator, contents
from onnxq.inspection.sample_shapes import sample_shapes
from onnxq.model import read_model
from onnxq.testing import normal, parse

TEXT = """g (float[N,3,8,8] x) => (float[N,10] y) {
    [conv] c = Conv<pads = [1,1,1,1]>(x, w, b) [relu] r = Relu(c)
    [flat] f = Flatten(r) [fc] y = Gemm<transB = 1>(f, v) }"""


def of(model: onnx.ModelProto, **shapes: tuple[int, ...]) -> Contents:
    proto = read_model(model)
    return contents(proto, sample_shapes(input_specs(proto), shapes))


@pytest.mark.parametrize("batch", [1, 5])
def test_work_and_bytes_are_of_a_sample(batch: int) -> None:
    model = parse(TEXT, w=normal(4, 3, 3, 3), b=normal(4), v=normal(10, 256))
    model.producer_name, model.producer_version = "hand", "1"
    found = of(model, x=(batch, 3, 8, 8))
    conv, gemm = 8 * 8 * 4 * 3 * 3 * 3, 10 * 256
    assert found.operators == (
        Operator("Conv", 1, conv, 4 * (4 * 27 + 4), 4 * 4 * 64),
        Operator("Gemm", 1, gemm, 4 * 2560, 4 * 10),
        Operator("Relu", 1, None, 0, 4 * 4 * 64),
        Operator("Flatten", 1, None, 0, 4 * 4 * 64),
    )
    assert (found.macs, found.layers, found.uncounted) == (conv + gemm, 2, ())
    assert (found.parameters, found.weight_bytes) == (108 + 4 + 2560, 4 * (108 + 4 + 2560))
    assert found.initializers[0] == Initializer("v", "float32[10,256]", 10240)
    assert (found.producer, found.opsets, found.ir_version, found.quantized) == ("hand 1", {"ai.onnx": 17}, 8, False)
    assert (found.inputs, found.outputs) == ({"x": "float32[N,3,8,8]"}, {"y": "float32[N,10]"})


def test_a_weight_that_several_read_counts_once_and_constants_count() -> None:
    text = """g (float[N,4] x) => (float[N,4] y) { [c] v = Constant<value = float[4] {1, 2, 3, 4}>()
        [a] p = MatMul(x, w) [b] q = MatMul(p, w) [add] y = Add(q, v) }"""
    found = {entry.op: entry for entry in of(parse(text, w=normal(4, 4))).operators}
    assert (found["MatMul"].weight_bytes, found["MatMul"].macs) == (64, 32)
    assert (found["Add"].weight_bytes, found["Constant"].output_bytes) == (16, None)


def test_bodies_count() -> None:
    text = """g (float[N,4] x, bool c) => (float[N,4] y) { [if] y = If (c) <
        then_branch = t () => (float[N,4] p) { [a] p = MatMul(x, w) },
        else_branch = e () => (float[N,4] q) { [b] q = MatMul(x, v) } > }"""
    found = of(parse(text, w=normal(4, 4), v=normal(4, 4)))
    assert [(entry.op, entry.nodes, entry.macs, entry.weight_bytes) for entry in found.operators] == [
        ("MatMul", 2, None, 128),
        ("If", 1, None, 0),
    ]
    assert found.layers == 0


def test_sizes_that_are_free() -> None:
    model = parse("g (float[N,T] x) => (float y) { [a] y = MatMul(x, w) }", w=normal(4, 4))
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    found = of(model)
    assert (found.macs, found.uncounted, found.shapes.open) == (0, ("a",), ("x",))
    assert of(model, x=(1, 4)).macs == 16


def test_packed_weights() -> None:
    text = "g (float[N,4] x) => (float y) { [d] w = DequantizeLinear<axis = 0>(p, s) [a] y = MatMul(x, w) }"
    model = parse(text, 21, s=np.ones(4, np.float32))
    model.graph.initializer.append(onnx.helper.make_tensor("p", onnx.TensorProto.INT4, [4, 3], [1] * 12))
    found = of(model)
    assert found.quantized
    assert {entry.name: entry.bytes for entry in found.initializers} == {"p": 6, "s": 16}
