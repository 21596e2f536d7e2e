"""``onnxq retarget`` turns a quantized file into another engine's, and says what it kept."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxq.lifting.lift import lift
from onnxq.testing import normal, ops, run

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def quantized(command: Command, folder: Path) -> Path:
    """tiny.onnx, quantized for OpenVINO."""
    done = command("quantize", "tiny.onnx", "--data", "data.npz", "-b", "openvino", "-q", "--no-build", "-o", "q.onnx")
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "q.onnx"


def test_one_file_for_each_backend_and_a_summary(command: Command, quantized: Path, folder: Path) -> None:
    done = command("retarget", "q.onnx", "-b", "onnxruntime", "-b", "tensorrt", "--data", "data.npz")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"weights kept +1 of 1 +1 of 1", done.stdout)
    assert re.search(r"layers in INT8 +1 of 1 +", done.stdout)
    assert "graph vs given" in done.stdout
    given = run(onnx.load(quantized), x=normal(8, 3, 8, 8, seed=2))["y"]
    for name in ("onnxruntime", "tensorrt"):
        made = onnx.load(folder / f"q.{name}.onnx")
        onnx.checker.check_model(made, full_check=True)
        answer = run(made, x=normal(8, 3, 8, 8, seed=2))["y"]
        assert np.abs(answer - given).max() < 0.05 * np.abs(given).max()


def test_facts_and_report(command: Command, quantized: Path, folder: Path) -> None:
    arguments = ("--json", "facts.json", "--report", "report.txt", "-o", "out.onnx", "--quiet")
    done = command("retarget", "q.onnx", "--backend", "openvino", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    facts = json.loads((folder / "facts.json").read_text())["backends"]["openvino"]
    assert facts["kept"] == {"activations": 1, "of_activations": 1, "weights": 1, "of_weights": 1}
    assert facts["accuracy"]["given_graph"][0]["sqnr_db"] == "inf"
    assert facts["engine"]["int8_nodes"] == 1
    assert "grids kept" in (folder / "report.txt").read_text()
    before, after = lift(onnx.load(quantized)), lift(onnx.load(folder / "out.onnx"))
    assert np.array_equal(before.weights["w"].integers, after.weights["w"].integers)


def test_what_the_user_asks_to_keep_in_float(command: Command, quantized: Path) -> None:
    done = command("retarget", "q.onnx", "-b", "openvino", "--exclude", "conv")
    assert done.returncode == 2
    assert "excluded by 'conv'" in done.stderr


def test_refit_takes_the_faster_grid(command: Command, folder: Path) -> None:
    done = command("quantize", "tiny.onnx", "--data", "data.npz", "-q", "--no-build", "-o", "q.onnx")
    assert done.returncode == 0
    types = {}
    for name, wish in (("kept", ()), ("refitted", ("--refit",))):
        done = command("retarget", "q.onnx", "-b", "openvino", "--no-build", "-q", "-o", f"{name}.onnx", *wish)
        assert (done.returncode, done.stderr) == (0, "")
        ((learned,),) = lift(onnx.load(folder / f"{name}.onnx")).activations.values()
        types[name] = str(learned.params.scheme)
    assert types == {"kept": "u8 asymmetric per tensor", "refitted": "i8 symmetric per tensor"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tiny.onnx", "-b", "openvino"), "tiny.onnx: has no Q/DQ nodes, nor others that work on integers. Use: onnxq"),
        (("gone.onnx", "-b", "openvino"), "gone.onnx: no such file"),
        (("q.onnx", "-b", "openvin"), "Did you mean 'openvino'?"),
        (("q.onnx", "-b", "openvino", "-o", "q.onnx"), "q.onnx: is read or written already"),
        (("q.onnx", "-b", "openvino", "--data", "gone.npz"), "gone.npz: no such file"),
        (("q.onnx", "-b", "openvino", "--samples", "0"), "samples: 0 is less than 1"),
        (("q.onnx", "-b", "openvino", "--calibrator", "mxs"), "unknown calibrator"),
        (("q.onnx", "-b", "openvino", "--report", "r.pdf"), "r.pdf: a report ends in"),
    ],
)
def test_bad_input(command: Command, quantized: Path, folder: Path, arguments: tuple[str, ...], words: str) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    done = command("retarget", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_an_engine_that_is_not_named_is_asked_for(command: Command, quantized: Path) -> None:
    done = command("retarget", "q.onnx")
    assert done.returncode == 2
    assert "--backend" in done.stderr


def test_help_teaches(command: Command) -> None:
    done = command("retarget", "--help")
    assert done.returncode == 0
    for word in ("QLinearConv", "--data", "--refit", "onnxq retarget qat.onnx --backend tensorrt"):
        assert word in done.stdout


def test_the_command_leaves_a_lone_graph_of_q_and_dq(command: Command, quantized: Path, folder: Path) -> None:
    assert command("retarget", "q.onnx", "-b", "tensorrt", "--no-build", "-q", "-o", "t.onnx").returncode == 0
    assert ops(onnx.load(folder / "t.onnx")).count("DequantizeLinear") == 2
