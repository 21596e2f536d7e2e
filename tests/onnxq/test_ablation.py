"""The table says what each pass brings: the numbers are those of runs without the pass."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from onnxq import Options, Recipe, load_card, quantize
from onnxq.ablation import optional
from onnxq.errors import ModelError, RecipeError
from onnxq.metrics import Top1
from onnxq.passes import BalanceActivations, Calibrate, FoldConstants, InsertQdq, PlanIntegers, RoundWeights
from onnxq.sqnr import sqnr_db
from onnxq.testing import normal, parse, run
from onnxq.variants import Ablation, Outcome
from onnxq.workspace import Pass, Workspace

GRAPH = Options(build=False)
BACKENDS = ("onnxruntime", "openvino")
LOUDNESS = np.array([1, 0.03, 8, 0.2], np.float32).reshape(-1, 1, 1, 1)
UNLIKE = parse(
    """g (float[N,4,6,6] x) => (float[N,4,6,6] y) {
    [pw] a = Conv(x, v) [act] b = Relu(a) [dw] y = Conv<group=4, pads=[1,1,1,1]>(b, w) }""",
    v=normal(4, 4, 1, 1, seed=2) * LOUDNESS,
    w=normal(4, 1, 3, 3) / LOUDNESS,
)
IMAGES = normal(12, 4, 6, 6, seed=4)
BEFORE: tuple[Pass, ...] = (PlanIntegers(), Calibrate(), RoundWeights())
NEEDED: tuple[Pass, ...] = (*BEFORE, InsertQdq())
BALANCED = Recipe((FoldConstants(), BalanceActivations(gain_db=1), *NEEDED))


@dataclass(frozen=True)
class Coarsen:
    """Weights lose their three lowest bits, after calibration: a pass that does harm."""

    name: ClassVar[str] = "coarsen"

    def __call__(self, workspace: Workspace) -> bool:
        for weight, rounded in workspace.weights.items():
            workspace.weights[weight] = replace(rounded, integers=rounded.integers // 8 * 8)
        return True


@dataclass(frozen=True)
class Idle:
    name: ClassVar[str] = "idle"

    def __call__(self, workspace: Workspace) -> bool:
        return False


@dataclass(frozen=True)
class Note:
    """What ``Heed`` cannot do without: before the plan, on one backend alone."""

    name: ClassVar[str] = "note"

    def __call__(self, workspace: Workspace) -> bool:
        workspace.ledger.add("changed", self.name, "graph", "noted")
        return False


@dataclass(frozen=True)
class Heed:
    error: type[Exception]
    backend: str = "openvino"
    name: ClassVar[str] = "heed"

    def __call__(self, workspace: Workspace) -> bool:
        if workspace.backend.name == self.backend and not workspace.ledger.of("changed"):
            raise self.error("nothing was noted")
        return False


def stages(recipe: Recipe) -> list[str]:
    """Each stage that was told to be done, in order."""
    done: list[str] = []

    def note(stage: str, count: int, total: int | None) -> None:
        if count == total:
            done.append(stage)

    quantize(UNLIKE, IMAGES, recipe=recipe, options=GRAPH, ablate=True, progress=note)
    return done


def ablation(*steps: Pass, backend: str | tuple[str, ...] = "onnxruntime") -> Ablation:
    found = quantize(UNLIKE, IMAGES, backend=backend, recipe=Recipe(steps), options=GRAPH, ablate=True).ablation
    assert found is not None
    return found


def rows(found: Ablation, backend: str = "onnxruntime") -> dict[tuple[str, ...], Outcome]:
    return {variant.without: variant.backends[backend] for variant in found.variants}


def without(recipe: Recipe, *names: str) -> Recipe:
    return Recipe(tuple(step for step in recipe.passes if step.name not in names))


@pytest.mark.parametrize("backend", BACKENDS)
def test_numbers_are_those_of_runs_without_the_pass(backend: str) -> None:
    found = rows(ablation(*BALANCED.passes, backend=BACKENDS), backend)
    names = ("fold_constants", "balance_activations")
    assert list(found) == [(), *((name,) for name in names), names]
    wanted, lost = run(UNLIKE, x=IMAGES)["y"], {}
    for left_out, outcome in found.items():
        recipe = without(BALANCED, *left_out)
        graph = quantize(UNLIKE, IMAGES, backend=BACKENDS, recipe=recipe, options=GRAPH)[backend].model
        lost[left_out] = sqnr_db(wanted, run(graph, x=IMAGES)["y"])
        assert outcome.sqnr_db == pytest.approx(lost[left_out], abs=1e-3)
        assert outcome.nodes == len(graph.graph.node)
        assert outcome.seconds is not None and outcome.seconds > 0
        assert (outcome.score, outcome.brought, outcome.problem) == (None, None, None)
    assert found[()].brought_db is None
    helps = found[("balance_activations",)]
    assert helps.brought_db == pytest.approx(lost[()] - lost[("balance_activations",)], abs=2e-3)
    assert helps.brought_db is not None and helps.brought_db > 6
    assert not helps.same_graph


def test_a_pass_that_changes_nothing_brings_exactly_nothing() -> None:
    found = rows(ablation(Idle(), *BALANCED.passes))
    for name in ("idle", "fold_constants"):
        assert (found[(name,)].brought_db, found[(name,)].same_graph) == (0, True)
        assert found[(name,)].sqnr_db == found[()].sqnr_db


def test_a_pass_that_does_harm_brings_less_than_nothing() -> None:
    found = rows(ablation(BalanceActivations(gain_db=1), *BEFORE, Coarsen(), InsertQdq()))
    harm = found[("coarsen",)]
    assert harm.sqnr_db is not None and harm.brought_db is not None and found[()].sqnr_db is not None
    assert harm.brought_db == found[()].sqnr_db - harm.sqnr_db < -6


def test_one_optional_pass_is_all_of_them() -> None:
    assert list(rows(ablation(Idle(), *NEEDED))) == [(), ("idle",)]


def test_what_comes_after_calibration_is_not_calibrated_again() -> None:
    assert stages(Recipe((*BEFORE, Coarsen(), InsertQdq()))).count("calibrate") == 1
    assert stages(Recipe((Idle(), *NEEDED))).count("calibrate") == 2


def test_the_float_model_answers_once_and_progress_names_the_variant() -> None:
    done = stages(BALANCED)
    assert done.count("judge FP32") == 1
    assert [stage for stage in done if stage.startswith("without")] == [
        "without fold_constants",
        "without balance_activations",
        "without any of them",
    ]


@pytest.mark.parametrize(("error", "said"), [(ModelError, ""), (KeyError, "KeyError: ")])
def test_a_variant_that_cannot_be_run_says_why(error: type[Exception], said: str) -> None:
    found = ablation(Note(), Heed(error), *BALANCED.passes, backend=BACKENDS)
    stopped = rows(found, "openvino")[("note",)]
    assert stopped.problem is not None and stopped.problem.startswith(said) and "nothing was noted" in stopped.problem
    assert (stopped.sqnr_db, stopped.brought_db, stopped.nodes) == (None, None, None)
    fine = rows(found, "onnxruntime")[("note",)]
    assert (fine.problem, fine.same_graph) == (None, True)


def test_a_variant_may_fail_after_calibration_too() -> None:
    found = rows(ablation(Note(), *BEFORE, Heed(ModelError, "onnxruntime"), InsertQdq()))
    assert found[("note",)].problem == "nothing was noted"
    assert found[("heed",)].same_graph


def test_the_result_is_that_of_a_run_without_the_table() -> None:
    told, plain = (quantize(UNLIKE, IMAGES, backend=BACKENDS, recipe=BALANCED, ablate=yes) for yes in (True, False))
    assert plain.ablation is None
    assert "ablate" in told.seconds and "ablate" not in plain.seconds
    for name in BACKENDS:
        assert told[name].model == plain[name].model
        assert told[name].ledger == plain[name].ledger
        assert told[name].built is not None
        judged, row = told[name].judged, rows(told.ablation, name)[()]  # type: ignore[arg-type]
        assert judged is not None
        assert row.sqnr_db == judged.graph[0].sqnr_db


def test_labels_give_a_score() -> None:
    result = quantize(
        UNLIKE,
        IMAGES,
        test={"x": IMAGES, "labels": run(UNLIKE, x=IMAGES)["y"].reshape(12, -1).argmax(1)},
        metric=Top1(),
        recipe=BALANCED,
        options=GRAPH,
        ablate=True,
    )
    found = result.ablation
    assert found is not None
    assert (found.samples, found.metric, found.unit) == (12, "top1", "%")
    graph = quantize(UNLIKE, IMAGES, recipe=without(BALANCED, "balance_activations"), options=GRAPH).quantized
    agree = run(graph, x=IMAGES)["y"].reshape(12, -1).argmax(1) == run(UNLIKE, x=IMAGES)["y"].reshape(12, -1).argmax(1)
    row = rows(found)[("balance_activations",)]
    assert row.score == pytest.approx(100 * agree.mean())
    assert row.brought == rows(found)[()].score - row.score  # type: ignore[operator]


def test_a_card_is_judged_by_its_metric() -> None:
    found = quantize(load_card("digits_mobilenet"), options=GRAPH, ablate=True).ablation
    assert found is not None
    assert (found.samples, found.metric) == (500, "top1")
    folds = rows(found)[("fold_batch_norm",)]
    assert folds.brought_db is not None and folds.brought_db > 5  # each batch norm is rounded once more
    assert folds.nodes is not None and folds.nodes > rows(found)[()].nodes  # type: ignore[operator]


def test_no_optional_pass_is_an_error_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the model was read")

    monkeypatch.setattr("onnxq.begin.load_marked", refuse)
    with pytest.raises(RecipeError, match=r"nothing to leave out \(--ablate, ablate=\).* plan, calibrate, round_"):
        ablation(*NEEDED)


def test_a_pass_that_comes_twice_is_left_out_whole() -> None:
    assert optional(Recipe((FoldConstants(), *NEEDED, FoldConstants()))) == ("fold_constants",)
