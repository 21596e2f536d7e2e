"""Whatever the exporter, passes see one form, and the model computes what it did."""

import numpy as np
import onnx
import onnx.parser
import pytest

from onnxq.errors import ModelError
from onnxq.model import load_model
from onnxq.normalise import opset
from onnxq.testing import normal, ops, parse, run


@pytest.mark.parametrize("version", range(7, 13))
def test_old_opsets_are_upgraded_and_compute_the_same(version: int) -> None:
    old = onnx.parser.parse_model(f"""<ir_version: 4, opset_import: ["": {version}]>
        g (float[2,3,8,8] x, float[4,3,3,3] w) => (float[2,4,6,1] y) {{
            a = Conv(x, w) b = BatchNormalization(a, s, s, s, s) c = Dropout(b)
            d = AveragePool<kernel_shape=[1,6]>(c) y = Softmax<axis=1>(d) }}""")
    old.doc_string = "said by the exporter"
    arrays = {"w": normal(4, 3, 3, 3), "s": np.array([1, 2, 3, 4], np.float32)}
    old.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    new = load_model(old)
    assert opset(new) == 13 and new.doc_string == old.doc_string
    np.testing.assert_allclose(run(new, x=normal(2, 3, 8, 8))["y"], run(old, x=normal(2, 3, 8, 8))["y"], atol=1e-6)


def test_an_upgrade_that_fails_says_so() -> None:
    old = onnx.parser.parse_model("""<ir_version: 3, opset_import: ["": 8, "mine": 1]>
        g (float[1,1,4,4] x) => (float[1,1,8,8] y) { y = Upsample<scales=[1.0, 1.0, 2.0, 2.0]>(x) }""")
    del old.opset_import[1]
    old.graph.node[0].op_type = "Scan"
    with pytest.raises(ModelError, match=r"opset|not a valid"):
        load_model(old)


def test_functions_are_inlined() -> None:
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[N] x) => (float[N] y) { a = local.twice(x) y = local.twice(a) }
        <domain: "local", opset_import: ["": 17]> twice (x) => (y) { y = Add(x, x) }""")
    loaded = load_model(model)
    assert ops(loaded) == ["Add", "Add"] and not loaded.functions
    assert len({node.name for node in loaded.graph.node}) == 2
    np.testing.assert_array_equal(run(loaded, x=np.array([1, 2], np.float32))["y"], [4, 8])


def test_every_node_gets_a_name_of_its_own_in_branches_too() -> None:
    model = parse("""g (float[N] x, bool flag) => (float[N] y) { a = Relu(x) [n] b = Abs(a) [n] c = Neg(b)
        [choice] y = If (flag) <then_branch = t () => (float[N] u) { [n] u = Exp(c) },
                                else_branch = e () => (float[N] v) { v = Sin(c) }> }""")
    loaded = load_model(model)
    branches = [node.name for attribute in loaded.graph.node[3].attribute for node in attribute.g.node]
    assert [node.name for node in loaded.graph.node] == ["Relu_a", "n", "n_1", "choice"]
    assert sorted(branches) == ["Sin_v", "n_2"]
