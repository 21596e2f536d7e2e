"""Where an engine leaves its graph: an engine that computes one layer wrongly is caught at that layer."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import pytest

from onnxq.backends import backend_of
from onnxq.backends.engine import Reading
from onnxq.comparing.first_difference import first_difference
from onnxq.execute import Session
from onnxq.handmade import I8, U8, Grid, handmade
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
IMAGES = normal(2, 16, 8, 8, seed=98)


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


@pytest.mark.parametrize("grid", [I8, U8])
def test_a_concat_that_openvino_garbles(grid: Grid) -> None:
    """Of int8; what is behind it hides how far off it is. Of uint8 it is right."""
    layers = " ".join(f"[n{i}] t{i} = Conv(t{i - 1}, v{i})" for i in range(1, 4))
    text = f"""g (float[N,16,8,8] x) => (float[N,8,8,8] y)
        {{ [one] a = Conv(x, w) [cat] s = Concat<axis = 1>(a, x) [two] t0 = Conv(s, u) {layers}
           [last] y = Identity(t3) }}"""
    weights = {f"v{i}": normal(8, 8, 1, 1, seed=i) for i in range(1, 4)}
    model = parse(text, 21, w=normal(16, 16, 1, 1, scale=0.2), u=normal(8, 32, 1, 1), **weights)
    grids = {name: I8.along(0) for name in ("w", "u", *weights)}
    found = first_difference(handmade(model, {"x": U8, "s": grid, **grids}), backend_of("openvino"), {"x": IMAGES})
    assert found is None if grid is U8 else found is not None and found.node == "two"


def test_an_engine_that_is_right_has_none() -> None:
    assert first_difference(MODEL, backend_of("onnxruntime"), FEEDS) is None


@dataclass(frozen=True)
class Noisy:
    """An engine that adds noise behind every product, of so many dB below the signal, by the name of the node."""

    model: onnx.ModelProto
    noise_db: Mapping[str, float]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        noisy = onnx.ModelProto()
        noisy.CopyFrom(self.model)
        for node in self.model.graph.node:
            if node.name in self.noise_db:
                (at,) = (at for at, other in enumerate(noisy.graph.node) if other.name == node.name)
                (made,) = node.output
                noisy.graph.node[at].output[0] = f"{made}/right"
                factor = 1 + 10 ** (-self.noise_db[node.name] / 20) * normal(5, 4, seed=at)
                noisy.graph.initializer.append(onnx.numpy_helper.from_array(factor.astype(np.float32), f"{made}/f"))
                noisy.graph.node.insert(at + 1, onnx.helper.make_node("Mul", [f"{made}/right", f"{made}/f"], [made]))
        return Session(noisy, optimize=False).run(feeds)

    def read_back(self) -> Reading:
        return Reading("noisy", (), 0)


def found_with(noise_db: Mapping[str, float], model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> object:
    backend = backend_of("onnxruntime")
    monkeypatch.setattr(type(backend), "engine", lambda self, piece, shapes: Noisy(piece, noise_db))
    found = first_difference(model, backend, FEEDS)
    return None if found is None else found.node


def test_rounding_adds_up_and_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rounding = {f"n{i}": 30.0 for i in range(1, DEPTH)}
    assert found_with(rounding, MODEL, monkeypatch) is None


@pytest.mark.parametrize("node", ["n2", "n5", "n7"])
def test_a_step_is_told_from_rounding(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rounding = {f"n{i}": 40.0 for i in range(1, DEPTH)}
    assert found_with({**rounding, node: 17.0}, MODEL, monkeypatch) == node


def test_of_two_wrong_layers_the_first_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_with({"n2": 20.0, "n6": 8.0}, MODEL, monkeypatch) == "n2"


def test_a_layer_on_another_branch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Halving by order alone would meet the branch that is right."""
    text = """g (float[N,4] x) => (float[N,4] y) { [a0] a = MatMul(x, w1) [b0] b = MatMul(x, w2) [b1] c = MatMul(b, w3)
        [b2] d = MatMul(c, w4) [sum] s = Add(a, d) [last] y = MatMul(s, w5) }"""
    model = parse(text, 13, **{f"w{i}": normal(4, 4, seed=i) for i in range(1, 6)})
    assert found_with({"a0": 3.0}, model, monkeypatch) == "a0"
