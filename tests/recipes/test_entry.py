"""An error names the file, the line, the field, and where it belongs or the nearest valid one."""

from pathlib import Path

import pytest

from onnxq.errors import OnnxqError, RecipeError
from onnxq.passes import Calibrate
from onnxq.recipe import load_recipe


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("passes:\n- plan:\n    exlude: [a]", "3: pass 'plan': unknown field 'exlude'. Did you mean 'exclude'? Valid:"),
        ("passes:\n- plann", "2: unknown pass 'plann'. Did you mean 'plan'?"),
        ("passes:\n- insert_qdq\n- {plan: {}, calibrate: {}}", "3: a pass is a name or one `name: {options}`;"),
        ("passes:\n- plan:\n  exclude: [a]", "2: a pass is a name or one `name: {options}`; ['exclude', 'plan'] are"),
        ("passes:\n- plan:\n  exclude: [a]", "'exclude' is a field of 'plan': indent it below."),
        ("passes:\n- 3", "2: a pass is a name or one `name: {options}`, not 3."),
        ("passes:\n- plan: 3", "2: pass 'plan': its options are 3, not a mapping `{field: value}`."),
        ("passes: plan", "1: field 'passes' is 'plan', not a list of passes."),
        ("\npassess: []", "2: unknown field 'passess'. Did you mean 'passes'?"),
        ("passes: []\nbackend: 3", "2: field 'backend' is 3, not a name or a list of names."),
        ("passes: []\nplan: {}", "2: unknown field 'plan'. 'plan' is a pass: list it under 'passes'."),
        ("exclude: [a]\npasses: []", "1: unknown field 'exclude'. 'exclude' is a field of the pass 'plan'."),
        (
            "passes:\n- calibrate:\n    exclude: [a]",
            "3: pass 'calibrate': unknown field 'exclude'. 'exclude' is a field of the pass 'plan'. Valid: activations",
        ),
        ("passes:\n- fuse_pad: {bits: 4}", "2: pass 'fuse_pad': unknown field 'bits'. 'bits' is a field of the pass"),
        ("passes:\n- fuse_pad: {x: 4}", "2: pass 'fuse_pad': unknown field 'x'. The pass has no options."),
        ("passes:\n- exclude: [a]", "2: unknown pass 'exclude'."),
        ("passes:\n- backend: openvino", "'backend' is a field of the recipe itself, beside 'passes'."),
        ("passes:\n- round_weights:\n    solver: mse\n    bits: 9", "4: pass 'round_weights': field 'bits' is 9"),
        (
            "passes:\n- calibrate:\n    activations:\n      lp:\n        q: 3",
            "5: pass 'calibrate': activations: lp: unknown field 'q'. Valid: p.",
        ),
        (
            "passes:\n- round_weights:\n    solver:\n      coordinate_descent:\n        sweeps: 1\n        start: gqtp",
            "6: pass 'round_weights': solver: coordinate_descent: start: unknown solver 'gqtp'. Did you mean 'gptq'?",
        ),
        ("passes:\n- plan:\n    keep_float: []\n    exclude: ['(']", "4: pass 'plan': exclude: '(' is not a regular"),
        ("passes: []\nbackend: a\npasses: []", "3: 'passes' is given twice, first on line 1."),
        ("passes:\n- plan: {exclude: [a], exclude: [b]}", "2: 'exclude' is given twice, first on line 2."),
        ("passes:\n  - plan: [", "3: not valid YAML"),
    ],
)
def test_the_line_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text + "\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(f"{path}, line ")
    assert said in str(caught.value)


def test_a_path_starts_from_the_folder_of_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "team/r.json").write_text('{"x": [0.0, 1.0]}')
    (tmp_path / "team/base.yaml").write_text("extends: default\npasses: [calibrate: {ranges: r.json}]")
    (tmp_path / "mine.yaml").write_text("extends: team/base.yaml\npasses: [calibrate: {activations: minmax}]")
    (step,) = [step for step in load_recipe(tmp_path / "mine.yaml").passes if isinstance(step, Calibrate)]
    assert step == Calibrate("minmax", ranges=str(tmp_path / "team/r.json"))
    (tmp_path / "mine.yaml").write_text("passes: [calibrate: {ranges: none.json}]")
    with pytest.raises(OnnxqError, match=r"none.json: no such file"):
        load_recipe(tmp_path / "mine.yaml")


def test_anchors_and_merges_are_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("passes:\n- round_weights: &few {bits: 4}\n- round_weights: {<<: *few, samples: 8, bits: 3}\n")
    assert [list(step.values()) for step in load_recipe(path).written()][1][0]["bits"] == 3
    path.write_text("passes:\n- round_weights: &few\n    bitss: 4\n- round_weights: *few\n")
    with pytest.raises(RecipeError, match=r"line 3: pass 'round_weights': unknown field 'bitss'"):
        load_recipe(path)
