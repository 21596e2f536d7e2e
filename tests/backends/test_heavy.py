"""Which nodes are heavy, which of them an engine's name means, and when a model is not handed over."""

import re

import onnx
import onnx.parser
import pytest

from onnxq.backends.heavy import Heavy, Names, heavy_nodes, serialize
from onnxq.errors import EngineError

BRANCHES = """<ir_version: 8, opset_import: ["": 17, "custom": 1]>
g (float[2,4] x, float[4,4] w, bool flag) => (float[2,4] z) {
    [fc] a = Gemm(x, w)
    [mine] b = custom.MatMul(a, w)
    [choose] c = If(flag) <
        then_branch = yes () => (d) {
            [inner] d = MatMul(b, w)
        },
        else_branch = no () => (f) {
            [nested] f = If(flag) <
                then_branch = yes2 () => (h) { [deep] h = MatMul(b, w) },
                else_branch = no2 () => (i) { [pass] i = Identity(b) }
            >
        }
    >
    [out] z = MatMul(c, w)
}"""

CHAIN = """<ir_version: 8, opset_import: ["": 17]>
g (float[1,4,8,8] x, float[4,4,1,1] v, float[4,4,1,1] w) => (float[1,4,8,8] z) {
    [one] a = Conv(x, v)
    ["one/Relu"] b = Relu(a)
    [two] c = Conv(b, w)
    [add] d = Add(c, b)
    [relu] z = Relu(d)
}"""

SUFFIX = re.compile(r"/[^/]+$")


def test_heavy_nodes_come_in_graph_order_with_those_of_subgraphs() -> None:
    assert heavy_nodes(onnx.parser.parse_model(BRANCHES)) == (
        Heavy("fc", "Gemm"),
        Heavy("inner", "MatMul", "choose"),
        Heavy("deep", "MatMul", "choose"),
        Heavy("out", "MatMul"),
    )


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("two", "two"),
        ("two/WithoutBiases/DequantizationMultiply", "two"),
        ("z/sink_port_0", "two"),  # by the name of the tensor, back through ReLU and Add
        ("one/Relu", "one"),
    ],
)
def test_a_name_leads_to_its_heavy_node(name: str, source: str) -> None:
    names = Names.of(onnx.parser.parse_model(CHAIN))
    node = names.find(name, SUFFIX)
    assert node is not None
    assert names.heavy_source(node) == source


def test_a_suffix_is_kept_where_a_node_really_has_it() -> None:
    names = Names.of(onnx.parser.parse_model(CHAIN))
    node = names.find("one/Relu/Fused", SUFFIX)
    assert node is not None and node.op_type == "Relu"
    assert names.find("three/WithoutBiases", SUFFIX) is None


def test_a_model_without_its_weights_is_not_handed_over() -> None:
    model = onnx.parser.parse_model(CHAIN)
    weight = model.graph.initializer.add(name="w", data_type=onnx.TensorProto.FLOAT, dims=[4, 4, 1, 1])
    weight.data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(EngineError, match="weights of 'w' lie outside the model"):
        serialize(model, "engine")


def test_a_model_beyond_a_protobuf_message_is_refused_before_it_is_copied() -> None:
    model = onnx.parser.parse_model(CHAIN)
    model.graph.initializer.add(name="w", data_type=onnx.TensorProto.FLOAT, dims=[2**15, 2**15])
    with pytest.raises(EngineError, match=r"weights take 4\.0 GiB"):
        serialize(model, "engine")
