"""What is told of a run: accuracy that does not depend on threads, versions that decide, and no places."""

import math
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest

from onnxq import judge
from onnxq.answers import Likeness
from onnxq.execute import Session
from onnxq.fingerprint import fingerprint_of_file
from onnxq.models.card import load_card
from onnxq.options import Options
from onnxq.passes import Calibrate, InsertQdq, PlanIntegers, RoundWeights
from onnxq.pipeline import quantize
from onnxq.provenance import Accuracy, provenance_of
from onnxq.provenance.told import accuracy_of, versions, written_down
from onnxq.recipe import RECIPES, Recipe, load_recipe
from onnxq.result import Judged, Scores
from onnxq.testing import normal, parse
from onnxq.validation import parse_yaml
from onnxq.workspace import Workspace


@dataclass(frozen=True)
class Mine:
    """A pass of the user's own, with a file and with a field that is called as one of ours."""

    table: str = ""
    ranges: tuple[float, ...] = (0.0, 1.0)
    name: ClassVar[str] = "mine"
    paths: ClassVar[tuple[str, ...]] = ("table",)

    def __call__(self, workspace: Workspace) -> bool:
        return False


def judged(sqnr: float, scores: Scores | None = None) -> Judged:
    return Judged(7, (Likeness("y", 50.0, 1.0, 0.0, None), Likeness("z", sqnr, 1.0, 0.0, None)), (), scores)


def test_accuracy_is_rounded() -> None:
    assert accuracy_of(judged(38.4499)) == Accuracy(7, 38.4)
    assert accuracy_of(judged(-math.inf)) == Accuracy(7, "-inf")
    assert accuracy_of(Judged(7, (), (), None)) == Accuracy(7)
    scores = Scores("top1", "%", 7, 99.80444, 99.7, 12.3)
    assert accuracy_of(judged(60.0, scores)) == Accuracy(7, 50.0, "top1", "%", 99.8, 99.7)


def test_it_does_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(threads: int) -> bytes:
        def session(model: Any, *, optimize: bool = True) -> Session:
            return Session(model, optimize=optimize, threads=threads)

        monkeypatch.setattr(judge, "Session", session)
        model = quantize(load_card("digits_mobilenet"), backend="openvino", options=Options(samples=16)).quantized
        assert provenance_of(model).accuracy is not None
        return model.SerializeToString(deterministic=True)

    assert made(1) == made(3)


def test_versions_are_those_that_decide() -> None:
    found = versions(RECIPES["default"])
    assert found["onnxruntime"] == version("onnxruntime") and found["onnxq"] == version("onnxq")
    assert "openvino" not in found and "highspy" not in found
    assert "highspy" in versions(RECIPES["default"].changed(RoundWeights, bits={"budget": 4.5}))


def test_files_go_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"x": [0.0, 1.0]}')
    path, mark = str(tmp_path / "t.json"), fingerprint_of_file(tmp_path / "t.json")
    steps = (Mine(path), Mine(), PlanIntegers(), Calibrate(ranges=path), RoundWeights(), InsertQdq())
    said = written_down(Recipe(steps))
    assert str(tmp_path) not in said and said.count(mark) == 2
    passes: Any = parse_yaml(said, "said")["passes"]
    assert [next(iter(step.values())) for step in passes[:2]] == [
        {"table": mark, "ranges": [0.0, 1.0]},
        {"table": "", "ranges": [0.0, 1.0]},
    ]
    assert load_recipe(parse_yaml(written_down(RECIPES["default"]), "said")) == RECIPES["default"]


def test_what_the_float_model_told_of_itself_stays(tmp_path: Path) -> None:
    source = parse("g (float[N,8] x) => (float[N,64] y) { y = MatMul(x, w) }", w=normal(8, 64))
    source.metadata_props.add(key="classes", value="cat,dog")
    source.metadata_props.add(key="onnxq.provenance", value="an old one")
    x = {"x": np.abs(normal(16, 8))}
    model = quantize(source, x, options=Options(build=False)).quantized
    assert next(entry.value for entry in model.metadata_props if entry.key == "classes") == "cat,dog"
    assert provenance_of(model).command == "quantize"
    onnx.checker.check_model(model)
