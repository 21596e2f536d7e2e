"""Which second moments are collected, in how many runs, and that passes to come find them."""

import tracemalloc
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from onnxq import Options, Recipe
from onnxq.columns import Rows
from onnxq.errors import Declined, RecipeError
from onnxq.moment_turns import BLOCK, DENSITY, LIMIT, collect_moments, second_moments, turns
from onnxq.passes import Calibrate, FoldConstants, InsertQdq, PlanIntegers, RoundWeights
from onnxq.pipeline import quantize
from onnxq.proof import rewrite
from onnxq.second_moments import SecondMoments
from onnxq.testing import named, normal, parse, run, scaled, workspace
from onnxq.weight_matrix import weight_matrix
from onnxq.workspace import Workspace

CONVS = named(
    parse(
        """g (float[N,4,6,6] x) => (float[N,8,2,2] c) {
            a = Conv <pads = [1, 1, 1, 1]> (x, w)
            b = Relu(a)
            s = Conv <group = 8> (b, v)
            c = ConvTranspose <group = 2, strides = [2, 2], pads = [3, 3, 3, 3]> (s, u)
        }""",
        w=scaled(8, 4, 3, 3),
        v=scaled(8, 1, 3, 3, seed=1),
        u=scaled(8, 4, 2, 2, seed=2),
    )
)
SIBLINGS = named(
    parse(
        "g (float[N,64] x) => (float[N,64] y, float[N,64] z) { y = MatMul(x, w) z = MatMul(x, v) }",
        w=scaled(64, 64),
        v=scaled(64, 64, seed=1),
    )
)
X = normal(8, 4, 6, 6)
LAYERS = ("a", "s", "c")


def test_the_power_of_what_a_layer_makes_is_a_form_of_its_moments() -> None:
    """``sum ||W x||^2 = tr(W H W^T)``, with W x from onnxruntime."""
    space = workspace(CONVS, X)
    found = dict(collect_moments(space, LAYERS))
    assert tuple(found) == LAYERS
    for node in space.graph.nodes:
        if node.op == "Relu":
            continue
        layer = workspace(CONVS, X)
        layer.graph.outputs = [layer.graph.tensors()[node.outputs[0].name]]
        made = run(layer.model(), x=X)[node.outputs[0].name]
        power = found[node.name].error(weight_matrix(node)).ravel()
        np.testing.assert_allclose(power, np.square(made.astype(np.float64)).sum(axis=(0, 2, 3)), rtol=1e-4)


def test_a_limit_spreads_layers_over_runs_that_find_the_same() -> None:
    space = workspace(CONVS, X)
    whole = dict(collect_moments(space, LAYERS))
    told: list[tuple[int, int | None]] = []
    space.progress = lambda stage, done, total: told.append((done, total))
    wanted = [second_moments(space.graph, node, 8) for node in space.graph.nodes if node.op != "Relu"]
    parts = dict(collect_moments(space, LAYERS, max(one.nbytes + one.merging for one in wanted)))
    assert told[-1] in ((16, 16), (24, 24))  # 8 samples, twice or more
    assert whole.keys() == parts.keys()
    for name, moments in whole.items():
        assert [block.tobytes() for block in moments.blocks] == [block.tobytes() for block in parts[name].blocks]


def test_every_run_keeps_to_the_limit_and_the_order() -> None:
    wanted = {name: SecondMoments(name, Rows(size)) for name, size in zip("abcde", (64, 256, 64, 32, 128), strict=True)}
    limit = wanted["b"].nbytes + wanted["a"].nbytes + wanted["b"].merging
    found = turns(wanted, limit)
    assert [name for names in found for name in names] == list(wanted) and len(found) > 1
    assert all(sum(wanted[name].nbytes for name in names) <= limit for names in found)


def test_layers_that_read_the_same_share_their_moments() -> None:
    space = workspace(SIBLINGS, normal(8, 64))
    wanted = {node.name: second_moments(space.graph, node, 8) for node in space.graph.nodes}
    alone = wanted["y"].nbytes + wanted["y"].merging
    assert turns(wanted, alone) == [["y", "z"]]
    found = dict(collect_moments(space, ("y", "z"), alone))
    assert found["y"] is found["z"]


def test_a_layer_over_the_limit_has_blocks() -> None:
    space = workspace(SIBLINGS, normal(8, 64))
    node = space.graph.nodes[0]
    whole = second_moments(space.graph, node, 8)
    assert whole.blocks == (64,)
    found = second_moments(space.graph, node, 8, limit=whole.nbytes + whole.merging - 1)
    assert found.blocks == (32, 32) and found.nbytes < whole.nbytes
    with pytest.raises(RecipeError, match=r"'y' take \d+ bytes, 1000 are allowed"):
        second_moments(space.graph, node, 8, limit=1000)


def test_no_more_memory_is_taken_than_the_limit_allows() -> None:
    """Of numpy's, while three layers whose sums take 25 MB each find room for one."""
    body = "r = Relu(x) s = Neg(x) a = MatMul(x, w) b = MatMul(r, w) c = MatMul(s, w) y = Sum(a, b, c)"
    model = named(parse(f"g (float[N,1024] x) => (float[N,1] y) {{ {body} }}", w=scaled(1024, 1)))
    space = workspace(model, normal(200, 1024))
    space.samples = replace(space.samples, limit=None)
    limit = 40 * 2**20
    seen = []
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for name, moments in collect_moments(space, ("a", "b", "c"), limit):
        seen.append((name, moments.columns))
        del moments
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == [("a", 200), ("b", 200), ("c", 200)]
    assert 20 * 2**20 < peak - before < limit


def test_blocks_end_between_channels() -> None:
    space = workspace(CONVS, X)
    found = second_moments(space.graph, space.graph.nodes[0], 8, block=20)
    assert found.blocks == (18, 18)
    assert second_moments(space.graph, space.graph.nodes[0], 8, block=5).blocks == (9, 9, 9, 9)


def test_there_are_columns_for_each_of_a_block() -> None:
    space = workspace(CONVS, X)
    found = second_moments(space.graph, space.graph.nodes[0], 1000, LIMIT, BLOCK)
    assert found.each == 1 and second_moments(space.graph, space.graph.nodes[0], 10).each == -(-36 * DENSITY // 10)


def test_layers_without_moments_are_told() -> None:
    model = named(parse("g (float[N,4] x) => (float[N,N] y) { t = Transpose(x) y = MatMul(x, t) }"))
    space = workspace(model, normal(8, 4))
    assert dict(collect_moments(space, ("y",))) == {}
    assert "computed at run time" in space.ledger.of("declined")[0].reason
    with pytest.raises(Declined):
        second_moments(space.graph, space.graph.nodes[1], 8)


@dataclass(frozen=True)
class Look:
    """Says what it found without a run of its own."""

    moments_limit: int = LIMIT
    name: ClassVar[str] = "look"

    def reads_moments_of(self, workspace: Workspace) -> Collection[str]:
        return workspace.plan.nodes

    def __call__(self, workspace: Workspace) -> bool:
        known = len(workspace.kept)
        found = dict(collect_moments(workspace, self.reads_moments_of(workspace), self.moments_limit))
        workspace.ledger.add("warning", self.name, "graph", f"{known} known of {len(found)}")
        return False


@pytest.mark.parametrize(("limit", "known"), [(LIMIT, 3), (100_000, 0)])
def test_a_pass_to_come_finds_them_collected_with_the_statistics(limit: int, known: int) -> None:
    recipe = Recipe((FoldConstants(), PlanIntegers(), Calibrate(), Look(limit), RoundWeights(), InsertQdq()))
    result = quantize(CONVS, X, backend=("openvino", "onnxruntime"), recipe=recipe, options=Options(build=False))
    for backend, count in (("openvino", 3), ("onnxruntime", 2)):  # which has no integer ConvTranspose
        assert f"{known} known of {count}" in [entry.reason for entry in result[backend].ledger.of("warning")]


@dataclass(frozen=True)
class Touch:
    """Changes a name and nothing else."""

    name: ClassVar[str] = "touch"
    tolerance: ClassVar[float] = 1e-4

    def __call__(self, workspace: Workspace) -> bool:
        return True


def test_they_are_forgotten_when_the_graph_changes() -> None:
    space = workspace(CONVS, X)
    watcher = second_moments(space.graph, space.graph.nodes[0], 8)
    space.kept[watcher] = watcher.begin().kept()
    assert space.fork(space.backend).kept == space.kept
    assert rewrite(space, Touch())
    assert not space.kept
