"""The float model and the grids beside it."""

import numpy as np
import onnx

from onnxq.backends.backend import Grids, SideFile
from onnxq.backends.targets.qnn import BACKEND as QNN
from onnxq.delivery import deliver
from onnxq.passes import Calibrate, InsertQdq, PlanIntegers, RoundWeights
from onnxq.scheme import dequantize
from onnxq.testing import normal, ops, parse, workspace
from onnxq.workspace import Workspace

BODY = "g (float[N,4] x) => (float[N,4] y) { [one] a = MatMul(x, w) [act] b = Relu(a) [two] y = Gemm<transB=1>(b, v) }"


def planned(text: str = BODY) -> Workspace:
    space = workspace(parse(text, w=normal(4, 4), v=normal(4, 4)), backend="qnn")
    for step in (PlanIntegers(), Calibrate("minmax"), RoundWeights()):
        step(space)
    return space


def test_weights_lie_on_their_grids_and_nothing_else_changes() -> None:
    space = planned()
    side_file = QNN.side_file
    assert side_file is not None
    delivery = deliver(space, space.graph.copy(), side_file)
    assert ops(delivery.model) == ["MatMul", "Relu", "Gemm"]
    held = {tensor.name: tensor for tensor in delivery.model.graph.initializer}
    for weight, rounded in space.weights.items():
        values = onnx.numpy_helper.to_array(held[weight.tensor])
        np.testing.assert_array_equal(values, dequantize(rounded.integers, rounded.params))
    np.testing.assert_array_equal(space.graph.tensors()["w"].values, normal(4, 4))  # the graph itself is as it was
    assert InsertQdq()(space)
    assert not space.ledger.of("warning")


def test_layers_are_told_with_what_they_read() -> None:
    space = planned()
    seen = []

    def write(grids: Grids) -> str:
        seen.append(grids)
        return "told"

    delivery = deliver(space, space.graph.copy(), SideFile(".txt", write))
    assert (delivery.suffix, delivery.text) == (".txt", "told")
    assert seen[0].layers == {"one": ("x",), "two": ("b",)}
    assert seen[0].activations.keys() == {"x", "b", "y"} and seen[0].weights.keys() == {"w", "v"}


def test_a_weight_on_two_grids_is_told_of() -> None:
    text = BODY.replace("Gemm<transB=1>(b, v)", "Gemm<transB=1>(b, w)")
    space = planned(text)
    assert len(space.weights) == 2
    assert QNN.side_file is not None
    deliver(space, space.graph.copy(), QNN.side_file)
    (entry,) = space.ledger.of("warning")
    assert entry.subject == "w" and "two grids" in entry.reason
