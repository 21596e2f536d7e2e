"""HardSwish as the product it is."""

import numpy as np

from onnxq.options import Options
from onnxq.passes.split_hard_swish import SplitHardSwish
from onnxq.pipeline import quantize
from onnxq.proof import Proof, rewrite
from onnxq.testing import changes_nothing, normal, ops, parse, run, workspace

TWO = "g (float[1,4,8,8] x) => (float[1,4,8,8] y) { a = Conv(x, w) b = HardSwish(a) c = Conv(b, w) y = HardSwish(c) }"


def test_it_becomes_a_product_with_a_hard_sigmoid() -> None:
    space = workspace(parse(TWO, w=normal(4, 4, 1, 1)))
    before = run(space, x=normal(1, 4, 8, 8))["y"]
    assert rewrite(space, SplitHardSwish(), Proof(space.source, space.samples))
    assert sorted(ops(space)) == ["Conv", "Conv", "HardSigmoid", "HardSigmoid", "Mul", "Mul"]
    np.testing.assert_allclose(run(space, x=normal(1, 4, 8, 8))["y"], before, rtol=1e-5, atol=1e-6)
    assert changes_nothing(space, SplitHardSwish())
    assert [value.name for value in space.model().graph.output] == ["y"]


def test_only_onnxruntime_s_graph_has_it_and_one_calibration_serves_all() -> None:
    model, samples = parse(TWO, w=normal(4, 4, 1, 1)), {"x": normal(8, 4, 8, 8)}
    result = quantize(model, samples, backend=("openvino", "onnxruntime"), options=Options(build=False))
    assert ops(result["openvino"].model).count("HardSwish") == 2
    assert "HardSwish" not in ops(result["onnxruntime"].model)
    alone = quantize(model, samples, backend="onnxruntime", options=Options(build=False))
    assert alone.quantized.graph == result["onnxruntime"].model.graph
