"""``onnxq recipe``: what is shown can be run, and what is wrong is said in a line."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from onnxq.recipe import RECIPES, load_recipe
from onnxq.recipes.schema import schema

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_recipe_is_shown_as_it_runs(command: Command, folder: Path) -> None:
    (folder / "mine.yaml").write_text("extends: default\nbackend: openvino\npasses: [round_weights: {bits: 4}]")
    done = command("recipe", "show", "mine.yaml")
    assert done.returncode == 0 and "extends" not in done.stdout
    assert command("recipe", "show", "mine.yaml", "-o", "shown.yaml").returncode == 0
    assert (folder / "shown.yaml").read_text() == done.stdout
    assert load_recipe("shown.yaml") == load_recipe("mine.yaml")
    over = command("recipe", "show", "mine.yaml", "-o", "mine.yaml")
    assert over.returncode == 2 and "is read or written already" in over.stderr


def test_built_in_recipes_are_listed(command: Command) -> None:
    done = command("recipe", "list")
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == list(RECIPES)
    for name in RECIPES:
        assert command("recipe", "show", name).returncode == 0


def test_recipes_are_checked(command: Command, folder: Path) -> None:
    (folder / "good.yaml").write_text("extends: default\nbackend: [openvino, tensorrt]")
    (folder / "bad.yaml").write_text("extends: default\npasses:\n- plan:\n    exlude: [a]")
    done = command("recipe", "check", "good.yaml", "default")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "good.yaml: good: 14 passes, for openvino, tensorrt"
    wrong = command("recipe", "check", "good.yaml", "bad.yaml")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(
        "onnxq: bad.yaml, line 4: pass 'plan': unknown field 'exlude'. Did you mean 'exclude'? Valid: "
    )


def test_the_schema_is_printed(command: Command, folder: Path) -> None:
    done = command("recipe", "schema")
    assert json.loads(done.stdout) == schema()
    assert command("recipe", "schema", "-o", "schema.json").returncode == 0
    assert (folder / "schema.json").read_text() == done.stdout


def test_quantize_takes_a_recipe_that_extends(command: Command, folder: Path) -> None:
    (folder / "mine.yaml").write_text("extends: default\npasses: [round_weights: {solver: nearest}]")
    tiny = ("quantize", "tiny.onnx", "--data", "data.npz", "--no-build", "-q")
    assert command(*tiny, "--recipe", "mine.yaml", "-o", "a.onnx", "--json", "facts.json").returncode == 0
    assert command(*tiny, "--solver", "nearest", "-o", "b.onnx").returncode == 0
    steps = {
        name: options
        for step in json.loads((folder / "facts.json").read_text())["recipe"]
        for name, options in step.items()
    }
    assert steps["round_weights"]["solver"] == "nearest" and len(steps) == 14


def test_what_is_seldom_meant_is_told(command: Command, folder: Path) -> None:
    (folder / "mine.yaml").write_text("extends: default\npasses: [round_weights: {bits: 4}]")
    done = command("recipe", "check", "mine.yaml")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].startswith("  balance_activations: bits is null, and goes with round_weights")
