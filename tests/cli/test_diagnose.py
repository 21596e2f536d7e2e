"""``onnxq diagnose``: what it prints, the recipe and the JSON it writes, and how it ends."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from onnxq.recipe import load_recipe

Command = Callable[..., "CompletedProcess[str]"]
PLAIN = """passes: [fold_constants, fold_batch_norm, plan, calibrate, {round_weights: {per_channel: false}}, insert_qdq]
"""


@pytest.fixture
def plain(folder: Path) -> Path:
    """A recipe with one grid for every weight, and no remedy."""
    (folder / "plain.yaml").write_text(PLAIN)
    return folder / "plain.yaml"


def test_a_recipe_that_can_be_run(command: Command, plain: Path, folder: Path) -> None:
    asked = ("diagnose", "tiny.onnx", "--data", "data.npz", "--recipe", plain, "-b", "openvino")
    done = command(*asked, "-o", "better.yaml", "--json", "facts.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FP32 on the engine: " in done.stdout and "sane" in done.stdout
    assert "outputs with weights quantized: " in done.stdout
    assert "conv" in done.stdout and "per_channel" in done.stdout
    assert "onnxq quantize tiny.onnx --recipe better.yaml" in done.stdout
    facts = json.loads((folder / "facts.json").read_text())["diagnosed"]
    assert {one["site"]["layer"] for one in facts["layers"]} == {"(input)", "conv"}
    assert facts["parts"]["weights"] > 0 and facts["recipe"] == (folder / "better.yaml").read_text()
    assert load_recipe("better.yaml").backends == ("openvino",)
    ran = command("quantize", "tiny.onnx", "--data", "data.npz", "--recipe", "better.yaml", "--no-build", "-q")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_card_has_a_metric(command: Command, plain: Path) -> None:
    done = command("diagnose", "digits_mobilenet", "--recipe", plain, "-b", "openvino")
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "The worst layer is /layers/layers.6/layers/layers.3/Conv" in said
    assert "with one grid for all" in said and "What helps: a grid for every output channel" in said
    assert "top1 on" in said and "FP32" in said


def test_what_the_user_can_mend(command: Command, plain: Path) -> None:
    done = command("diagnose", "tiny.onnx")
    assert done.returncode == 2 and "no calibration data" in done.stderr
    done = command("diagnose", "tiny.onnx", "--data", "data.npz", "--recipe", plain, "-o", plain)
    assert done.returncode == 2 and "Choose another name" in done.stderr
    assert command("diagnose", "tiny.onnx", "--data", "data.npz", "--recipe", plain, "--quiet").stdout == ""
