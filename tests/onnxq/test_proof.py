"""A rewrite that changes the function is undone, alone, and the report says so."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from onnxq.graph import give
from onnxq.proof import Proof, relative_error, rewrite, rewrite_all
from onnxq.rewriting import attempt
from onnxq.statistics import TensorStatistics
from onnxq.testing import normal, parse, workspace
from onnxq.workspace import TOLERANCE, Workspace

LAYERS = "".join(f"h{i + 1} = MatMul(h{i}, w{i})" for i in range(8))
WEIGHTS: dict[str, Any] = {f"w{i}": normal(3, 3, seed=i) for i in range(8)}
MODEL = parse(f"g (float[N,3] h0) => (float[N,3] h8) {{ {LAYERS} }}", **WEIGHTS)


@dataclass(frozen=True)
class Scale:
    """Multiplies the weights of all layers, of some by another factor."""

    factor: float = 1.0
    others: dict[str, float] | None = None
    claims: bool = True
    name: ClassVar[str] = "scale"
    tolerance: ClassVar[float] = TOLERANCE

    def __call__(self, workspace: Workspace) -> bool:
        done = 0
        for node in workspace.graph.nodes:
            factor = (self.others or {}).get(node.inputs[1].name, self.factor)
            done += attempt(workspace, self.name, node, self._scale, node, factor)
        return done > 0

    def _scale(self, node: gs.Node, factor: float) -> bool:
        give(node, 1, (node.inputs[1].values * factor).astype(np.float32), node.inputs[1].name)
        return self.claims


@dataclass(frozen=True)
class Break:
    """Leaves a graph that no engine takes."""

    name: ClassVar[str] = "break"
    tolerance: ClassVar[float] = TOLERANCE

    def __call__(self, workspace: Workspace) -> bool:
        workspace.graph.nodes[0].op = "NoSuchOperator"
        return True


def space() -> Workspace:
    made = workspace(MODEL)
    made.statistics["a"] = TensorStatistics(-1, 1)
    return made


def written(made: Workspace) -> bytes:
    return made.model().SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Scale(1.01), "undone: output 'h8' differs by"),
        (Scale(np.nan), "undone: output 'h8' differs by inf"),
        (Break(), "undone: onnxruntime cannot load the model"),
    ],
)
def test_a_pass_whose_every_rewrite_changes_the_function_is_undone(step: Scale | Break, said: str) -> None:
    made = space()
    before = written(made)
    assert not rewrite(made, step, Proof(made.source, made.samples))
    assert written(made) == before
    assert {(entry.kind, entry.stage) for entry in made.ledger.entries} == {("declined", step.name)}
    assert all(entry.reason.startswith(said) for entry in made.ledger.entries)
    assert made.statistics


@pytest.mark.parametrize("guilty", [{"w3"}, {"w0", "w7"}, {"w1", "w2", "w5"}])
def test_only_the_rewrites_that_change_the_function_are_undone(guilty: set[str]) -> None:
    made = space()
    step = Scale(1.000001, dict.fromkeys(guilty, 1.1))
    assert rewrite(made, step, Proof(made.source, made.samples))
    for name, weight in WEIGHTS.items():
        found = made.graph.tensors()[name].values
        np.testing.assert_array_equal(found, weight if name in guilty else (weight * 1.000001).astype(np.float32))
    names = {node.name for node in made.graph.nodes if node.inputs[1].name in guilty}
    assert {entry.subject for entry in made.ledger.of("declined")} == names
    assert all("1e-04 is allowed" in entry.reason for entry in made.ledger.of("declined"))
    assert not made.statistics


def test_what_was_undone_is_not_tried_again() -> None:
    made = space()
    step = Scale(1.000001, {"w3": 1.1})
    rewrite(made, step, Proof(made.source, made.samples))
    assert step(made)
    np.testing.assert_array_equal(made.graph.tensors()["w3"].values, WEIGHTS["w3"])


def test_small_errors_that_add_up_undo_the_whole_pass() -> None:
    made = space()
    before = written(made)
    assert not rewrite(made, Scale(1 + 4e-5), Proof(made.source, made.samples))
    assert written(made) == before
    (entry,) = made.ledger.entries
    assert entry.subject == "graph"


def test_a_pass_that_keeps_the_function_stays_and_what_was_measured_does_not() -> None:
    made = space()
    assert rewrite(made, Scale(1.000001), Proof(made.source, made.samples))
    assert not made.ledger.entries
    assert not made.statistics


def test_a_pass_that_did_nothing_is_not_measured() -> None:
    made = space()
    assert not rewrite(made, Scale(1.0, claims=False), Proof(made.source, made.samples))
    assert made.statistics


def test_passes_are_proven_together_and_one_by_one_where_that_fails() -> None:
    made = space()
    rewrite_all(made, [Scale(1.000001), Break(), Scale(1.000001)], Proof(made.source, made.samples))
    np.testing.assert_allclose(made.graph.tensors()["w0"].values, WEIGHTS["w0"] * 1.000002, rtol=3e-7)
    (entry,) = made.ledger.entries
    assert entry.stage == "break"


@pytest.mark.parametrize(
    ("one", "two", "found"),
    [
        ([1.0, np.nan, np.inf], [1.0, np.nan, np.inf], 0),
        ([1.0, np.nan], [1.0, 2.0], np.inf),
        ([1.0, np.inf], [1.0, -np.inf], np.inf),
        ([1.0, 2.0], [1.0, np.inf], np.inf),
        ([0.0, 0.0], [0.0, 1.0], np.inf),
        ([0.0, 2.0, np.nan], [0.1, 2.0, np.nan], 0.05),
        ([4.0, 4.0], [4.0, 5.0], 0.25),
        ([1.0, 2.0], [1.0], np.inf),
        (np.array([1, 2]), np.array([1, 2]), 0),
        (np.array([1, 2]), np.array([1, 3]), np.inf),
        ([], [], 0),
    ],
)
def test_an_error_is_told_as_a_part_of_the_range(one: list[float], two: list[float], found: float) -> None:
    assert relative_error(np.asarray(one), np.asarray(two)) == pytest.approx(found)
