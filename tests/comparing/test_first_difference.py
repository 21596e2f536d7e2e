"""Where an engine leaves its graph: an engine that computes one layer wrongly is caught at that layer."""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
import pytest

from onnxq.backends import backend_of
from onnxq.backends.engine import Reading
from onnxq.comparing.first_difference import first_difference
from onnxq.execute import Session
from onnxq.inputs import Array
from onnxq.testing import normal, parse

DEPTH = 9
TEXT = (
    "g (float[N,4] x) => (float[N,4] y) { [n0] t0 = Relu(x) "
    + " ".join(f"[n{i}] t{i} = MatMul(t{i - 1}, w{i})" for i in range(1, DEPTH))
    + f" [last] y = Identity(t{DEPTH - 1}) }}"
)
MODEL = parse(TEXT, 13, **{f"w{i}": normal(4, 4, seed=i) for i in range(1, DEPTH)})
FEEDS = {"x": normal(5, 4, seed=99)}


@dataclass(frozen=True)
class Wrong:
    """An engine that turns the sign of one layer."""

    model: onnx.ModelProto
    node: str

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        twisted = onnx.ModelProto()
        twisted.CopyFrom(self.model)
        for at, node in enumerate(twisted.graph.node):
            if node.name == self.node:
                made, node.output[0] = node.output[0], "right"
                turned = onnx.helper.make_node("Neg", ["right"], [made])
                twisted.graph.node.insert(at + 1, turned)
                break
        return Session(twisted, optimize=False).run(feeds)

    def read_back(self) -> Reading:
        return Reading("wrong", (), 0)


@pytest.mark.parametrize("node", ["n1", "n4", "n8"])
def test_the_first_layer_is_named_in_few_builds(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, built = backend_of("onnxruntime"), []

    def engine(self: object, model: onnx.ModelProto, shapes: object) -> Wrong:
        built.append(model)
        return Wrong(model, node)

    monkeypatch.setattr(type(backend), "engine", engine)
    found = first_difference(MODEL, backend, FEEDS)
    assert found is not None and (found.node, found.operator) == (node, "MatMul")
    assert found.tensor == f"t{node[1:]}" and found.sqnr_db < 0
    assert len(built) <= 6


def test_an_engine_that_is_right_has_none() -> None:
    assert first_difference(MODEL, backend_of("onnxruntime"), FEEDS) is None
