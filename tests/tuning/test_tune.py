"""The whole search on models that ship with onnxq: what it finds, what it leaves on disk, and where it goes on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxq import Options, Tuned, load_card, load_recipe, quantize, tune
from onnxq.errors import DataError, OutputError, RecipeError
from onnxq.model import model_bytes
from onnxq.passes import PlanIntegers, RoundWeights
from onnxq.recipe import RECIPES
from onnxq.tuning import attempts, search, trials
from onnxq.tuning.candidate import Outcome
from onnxq.tuning.counterexamples import Counterexamples

CARD = load_card("digits_mobilenet")
TWO_BITS = Options(weight_bits=2, per_tensor=True)


def searched(out: Path | None, **asked: Any) -> Tuned:
    settings = {"backend": "openvino", "max_drop": 0.5, "budget": 60.0, "options": TWO_BITS, "out": out}
    return tune(CARD, **{**settings, **asked})


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tuned, Path]:
    """From two bits with one scale for a weight, which loses far too much."""
    out = tmp_path_factory.mktemp("tuned") / "digits.onnx"
    return searched(out), out


def test_a_recipe_that_keeps_the_accuracy_is_tried_alone(tmp_path: Path) -> None:
    found = searched(tmp_path / "a.onnx", options=Options())
    assert [one.said for one in found.outcomes] == ["the recipe as it is"]
    assert found.keeps and found.best is not None and found.best.int8 == 1.0
    assert found.not_deployed == "" and found.built is not None and found.counterexamples == ()


def test_what_it_finds(found: tuple[Tuned, Path]) -> None:
    tuned, _ = found
    assert tuned.keeps and tuned.best is not None and tuned.best.lost is not None
    first = tuned.outcomes[0]
    assert first.said == "the recipe as it is" and not first.keeps and first.lost is not None and first.lost > 5
    assert tuned.best.lost <= 0.5 and tuned.best.int8 is not None and tuned.best.int8 >= 0.9
    assert any(one.said == "a grid for every output channel of a weight" for one in tuned.outcomes)
    assert tuned.counterexamples and "Keeps the accuracy: top1" in tuned.verdict
    assert all(one.seconds > 0 for one in tuned.outcomes)


def test_the_recipe_makes_the_graph_byte_for_byte(found: tuple[Tuned, Path]) -> None:
    tuned, out = found
    recipe = out.with_suffix(".yaml")
    assert recipe.read_text() == tuned.recipe
    again = quantize(CARD, recipe=recipe, options=Options(build=False))["openvino"]
    assert model_bytes(again.model, out) == out.read_bytes()
    onnx.checker.check_model(onnx.load(out), full_check=True)


def test_it_goes_on_where_it_was(found: tuple[Tuned, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    tuned, out = found
    before = {path: path.stat().st_mtime_ns for path in out.parent.iterdir()}
    monkeypatch.setattr(trials.Trials, "__call__", lambda *asked: pytest.fail("a candidate was tried again"))
    again = searched(out)
    assert again.resumed == len(tuned.outcomes) and again.outcomes == tuned.outcomes and again.best == tuned.best
    assert {path: path.stat().st_mtime_ns for path in out.parent.iterdir()} == before
    assert [one.number for one in again.counterexamples] == [one.number for one in tuned.counterexamples]
    for one, other in zip(again.counterexamples, tuned.counterexamples, strict=True):
        np.testing.assert_array_equal(one.feeds["image"], other.feeds["image"])


def test_an_interrupted_search(found: tuple[Tuned, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after one candidate, it ends as the one that was not; the best so far is on disk at any time."""
    tuned, _ = found
    out, ask = tmp_path / "digits.onnx", trials.Trials.__call__
    done: list[Outcome] = []

    def until_killed(self: trials.Trials, candidate: Any, known: Counterexamples) -> trials.Tried:
        if done:
            raise KeyboardInterrupt
        tried = ask(self, candidate, known)
        done.append(tried.outcome)
        return tried

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(trials.Trials, "__call__", until_killed)
        searched(out)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".jsonl", ".onnx", ".yaml"]
    load_recipe(out.with_suffix(".yaml"))
    again = searched(out)
    assert again.resumed == 1
    assert [_lasting(one) for one in again.outcomes] == [_lasting(one) for one in tuned.outcomes]
    assert again.recipe == tuned.recipe


def _lasting(one: Outcome) -> Outcome:
    return replace(one, seconds=0.0)


def test_a_journal_of_another_search(found: tuple[Tuned, Path]) -> None:
    _, out = found
    with pytest.raises(OutputError, match=r"digits.tune.jsonl: is of another search .* --fresh"):
        searched(out, max_drop=0.1)
    journal = out.with_suffix(".tune.jsonl")
    whole = journal.read_text()
    try:
        journal.write_text(whole[: len(whole) // 2])
        with pytest.raises(OutputError, match=r"is damaged.*--fresh"):
            searched(out)
    finally:
        journal.write_text(whole)


def test_nodes_are_left_in_float_where_nothing_else_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Activations of 2 bits: no weight, calibrator or correction makes up for them."""
    monkeypatch.setattr(search, "remedies", lambda *asked: ())
    monkeypatch.setattr(search, "HALVINGS", 1)
    monkeypatch.setattr(search, "PUT_BACK", 2)
    coarse = RECIPES["default"].changed(PlanIntegers, activation_bits=2)
    found = searched(tmp_path / "a.onnx", recipe=coarse, options=Options(), max_drop=1.0)
    assert found.keeps and found.best is not None and found.recipe is not None
    assert found.best.said.startswith("float: ") and found.best.int8 is not None and 0 < found.best.int8 < 1
    assert "exclude:\n    - ^" in found.recipe
    raised = [one for one in found.outcomes if one.said.startswith("float: ") and one.keeps and one.int8 is not None]
    assert found.best.int8 == max(one.int8 or 0.0 for one in raised)


def test_weights_get_more_bits_before_anything_is_float(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "remedies", lambda *asked: ())
    monkeypatch.setattr(search, "HALVINGS", 0)
    monkeypatch.setattr(search, "PUT_BACK", 2)
    coarse = RECIPES["default"].changed(PlanIntegers, activation_bits=3).changed(RoundWeights, bits=2)
    found = searched(tmp_path / "a.onnx", recipe=coarse, options=Options(), max_drop=0.5)
    said = [one.said for one in found.outcomes]
    assert found.keeps and found.best is not None and found.best.said.startswith("weights of 8 bits in ")
    assert found.best.int8 == 1.0 and not any(one.startswith("float: ") for one in said)
    raised = [one.size or 0 for one in found.outcomes if one.keeps]
    assert found.best.size == min(raised)


def test_where_no_time_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts.Attempts, "time_left", lambda self: not self.outcomes)
    found = searched(tmp_path / "a.onnx")
    assert not found.keeps and len(found.outcomes) == 1 and "--budget" in found.verdict
    assert (tmp_path / "a.onnx").exists()


def test_without_labels_and_without_an_engine() -> None:
    data = np.load(CARD.calibration_path)
    feeds = {"image": data["image"] if "image" in data else data[data.files[0]]}
    found = tune(
        CARD.model_path,
        feeds,
        metric="agreement",
        max_drop=1,
        budget=20,
        deployed=False,
        options=Options(preprocessing=CARD.preprocessing),
    )
    assert found.fp32 == 100 and found.keeps and found.built is None and "--no-build" in found.not_deployed
    assert found.best is not None and found.best.int8 == 1.0, "as planned"


def test_what_the_user_can_mend(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no metric\. Give --metric"):
        tune(CARD.model_path, CARD.calibration_path)
    with pytest.raises(RecipeError, match=r"sqnr: FP32 has no value of it .* agreement"):
        searched(None, metric="sqnr")
    with pytest.raises(RecipeError, match="one at a time"):
        searched(None, backend=("openvino", "onnxruntime"))
    with pytest.raises(DataError, match="no samples"):
        tune(CARD.model_path, metric="top1")
    with pytest.raises(OutputError, match="is a folder"):
        searched(tmp_path)
