"""A rewrite that changes the function is undone, and the report says so."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.graph import give
from onnxq.proof import Proof, rewrite, sqnr_db
from onnxq.statistics import TensorStatistics
from onnxq.testing import Array, normal, parse, workspace
from onnxq.workspace import Workspace

MODEL = parse("g (float[N,3] x) => (float[N,4] y) { a = MatMul(x, w) y = Relu(a) }", w=normal(3, 4))


@dataclass(frozen=True)
class Scale:
    """Multiplies the weight, and claims that nothing comes of it."""

    factor: float = 1.0
    claims: bool = True
    name: ClassVar[str] = "scale"
    tolerance_db: ClassVar[float] = 60.0

    def __call__(self, workspace: Workspace) -> bool:
        node = workspace.graph.nodes[0]
        give(node, 1, (node.inputs[1].values * self.factor).astype(np.float32), "w")
        workspace.ledger.add("changed", self.name, "graph", "weights scaled")
        return self.claims


@dataclass(frozen=True)
class Break:
    """Leaves a graph that no engine takes."""

    name: ClassVar[str] = "break"
    tolerance_db: ClassVar[float] = 60.0

    def __call__(self, workspace: Workspace) -> bool:
        workspace.graph.nodes[0].op = "NoSuchOperator"
        return True


def space() -> Workspace:
    made = workspace(MODEL)
    made.statistics["a"] = TensorStatistics(-1, 1)
    return made


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Scale(1.01), "undone: outputs differ (40 dB; 60 dB wanted)"),
        (Scale(np.nan), "undone: outputs differ (-inf dB; 60 dB wanted)"),
        (Break(), "undone: onnxruntime cannot load the model"),
    ],
)
def test_a_pass_that_changes_the_function_is_undone(step: Scale | Break, said: str) -> None:
    made = space()
    before = made.model().SerializeToString(deterministic=True)
    assert not rewrite(made, step, Proof(made.source, made.samples))
    assert made.model().SerializeToString(deterministic=True) == before
    (entry,) = made.ledger.entries
    assert (entry.kind, entry.stage) == ("declined", step.name) and entry.reason.startswith(said)
    assert made.statistics


def test_a_pass_that_keeps_the_function_stays_and_what_was_measured_does_not() -> None:
    made = space()
    assert rewrite(made, Scale(1.00001), Proof(made.source, made.samples))
    assert [entry.kind for entry in made.ledger.entries] == ["changed"]
    assert not made.statistics


def test_a_pass_that_did_nothing_is_not_measured() -> None:
    made = space()
    assert not rewrite(made, Scale(1.0, claims=False), Proof(made.source, made.samples))
    assert made.statistics


@pytest.mark.parametrize("seed", range(5))
def test_sqnr_is_signal_over_error(seed: int) -> None:
    one, two = normal(3, 50, seed=seed), normal(3, 50, seed=seed) + normal(3, 50, seed=99, scale=0.01)
    wanted = 10 * np.log10((one.astype(float) ** 2).sum() / ((one.astype(float) - two) ** 2).sum())
    assert sqnr_db(one, two) == pytest.approx(wanted)
    assert 35 < wanted < 45


@pytest.mark.parametrize(
    ("one", "two", "found"),
    [
        ([1.0, np.nan, np.inf], [1.0, np.nan, np.inf], np.inf),
        ([1.0, np.nan], [1.0, 2.0], -np.inf),
        ([1.0, 2.0], [1.0, np.inf], -np.inf),
        ([0.0, 0.0], [0.0, 1.0], -np.inf),
        ([1.0, np.nan], [1.1, np.nan], 20.0),
        ([1.0, 2.0], [1.0], -np.inf),
        (np.array([1, 2]), np.array([1, 2]), np.inf),
        (np.array([1, 2]), np.array([1, 3]), -np.inf),
    ],
)
def test_sqnr_of_what_is_not_finite_not_float_or_of_another_shape(
    one: list[float] | Array, two: list[float] | Array, found: float
) -> None:
    first: NDArray[np.generic] = np.asarray(one)
    assert sqnr_db(first, np.asarray(two)) == pytest.approx(found)
