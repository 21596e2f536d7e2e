"""``onnxq compare``: what it prints, how it ends, and that Polygraphy's own command agrees."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import onnx
import pytest

from onnxq.handmade import I8, POSITIVE, U8, handmade
from onnxq.testing import parse

Command = Callable[..., "CompletedProcess[str]"]
POLYGRAPHY = shutil.which("polygraphy") or str(Path(sys.executable).with_name("polygraphy"))


@pytest.fixture
def quantized(folder: Path) -> Path:
    """tiny.onnx with Q/DQ, in a file."""
    onnx.save(handmade(onnx.load(folder / "tiny.onnx"), {"x": U8, "r": POSITIVE, "w": I8.along(0)}), "q.onnx")
    return Path("q.onnx")


def polygraphy(*arguments: object) -> "CompletedProcess[str]":
    done = subprocess.run([POLYGRAPHY, "run", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def figure(said: str) -> list[float]:
    return [float(number) for number in re.findall(r"SNR: ([\d.]+) dB", said)]


def test_a_graph_beside_the_model_it_was_made_from(command: Command, quantized: Path) -> None:
    done = command("compare", "tiny.onnx", quantized, "--data", "data.npz", "--layers", "--json", "c.json")
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(Path("c.json").read_text())
    (row,) = facts["outputs"]
    assert row["output"] == "y" and 25 < row["sqnr_db"] < 60 and row["cosine"] > 0.999
    assert [layer["tensor"] for layer in facts["layers"]] == ["c", "r", "p", "y"]
    assert f"{row['sqnr_db']:.2f}" in done.stdout and "q.onnx beside tiny.onnx, 1 runs" in done.stdout


def test_gates_end_with_1_and_say_which(command: Command, quantized: Path) -> None:
    words = ("compare", "tiny.onnx", quantized, "--data", "data.npz", "--engine", "onnxruntime", "--quiet")
    assert command(*words, "--min-sqnr", 20, "--min-cosine", 0.9, "--min-int8", 1).returncode == 0
    done = command(*words, "--min-sqnr", 90, "--min-cosine", 0.99999999)
    assert done.returncode == 1
    assert re.fullmatch(r"FAILED: y: .* \(--min-sqnr\)\nFAILED: y: cosine .* \(--min-cosine\)\n", done.stdout)
    floats = command("compare", "tiny.onnx", "tiny.onnx", "--engine", "onnxruntime", "--min-int8", 0.5)
    assert floats.returncode == 1 and "0.0 % of the MACs are INT8; 50 % wanted" in floats.stdout


@pytest.mark.parametrize("batch", [3, 8])
@pytest.mark.parametrize("wanted", [20, 90])
def test_polygraphy_reads_what_is_written_and_says_the_same(
    command: Command, quantized: Path, batch: int, wanted: int
) -> None:
    files = ("--save-inputs", "in.json", "--save-outputs", "out.json", "--json", "c.json")
    words = ("compare", "tiny.onnx", quantized, "--data", "data.npz", "--batch", batch, "--min-sqnr", wanted)
    ours = command(*words, *files)
    given = ("--load-inputs", "in.json", "--load-outputs", "out.json", "--compare", "snr", "--snr-threshold", wanted)
    theirs = polygraphy("tiny.onnx", "--onnxrt", *given)
    assert ours.returncode == theirs.returncode == (wanted > 50), theirs.stdout
    (row,) = json.loads(Path("c.json").read_text())["outputs"]
    figures = figure(theirs.stdout)
    assert len(figures) == -(-8 // batch)
    assert row["sqnr_db"] == pytest.approx(min(figures), abs=0.01)


def test_what_polygraphy_saved_is_read(command: Command, quantized: Path) -> None:
    done = polygraphy("tiny.onnx", "--onnxrt", "--save-inputs", "in.json", "--save-outputs", "out.json")
    assert done.returncode == 0, done.stdout
    same = command("compare", "out.json", "tiny.onnx", "--data", "in.json", "--min-sqnr", 90)
    assert same.returncode == 0, same.stdout + same.stderr
    found = command("compare", "out.json", quantized, "--data", "in.json", "--min-sqnr", 90)
    assert found.returncode == 1 and "out.json (onnxrt-runner" in found.stdout.replace("\n", " ")
    both = command("compare", "out.json", "out.json")
    assert both.returncode == 0 and "inf" in both.stdout


def test_mistakes_are_said(command: Command, quantized: Path, folder: Path) -> None:
    (folder / "no.json").write_text('{"a": 1}')
    assert (
        "no.json: is not what `polygraphy run"
        in command("compare", "no.json", "tiny.onnx", "--data", "data.npz").stderr
    )
    assert "cannot be read" in command("compare", "gone.json", "gone.json").stderr
    polygraphy("tiny.onnx", "--onnxrt", "--save-outputs", "out.json")
    assert "--data inputs.json" in command("compare", "out.json", quantized).stderr
    assert "only a model can be built" in command("compare", "tiny.onnx", "out.json", "--engine", "openvino").stderr
    assert "give --engine" in command("compare", "tiny.onnx", quantized, "--min-int8", "0.5").stderr
    assert "have no layers" in command("compare", "out.json", quantized, "--layers").stderr
    np.savez(folder / "other.npz", z=np.ones((2, 2), np.float32))
    assert command("compare", "tiny.onnx", quantized, "--data", "other.npz").returncode == 2
    assert command("compare", "tiny.onnx", quantized, "--save-outputs", quantized).returncode == 2


def test_what_a_metric_may_drop(command: Command, folder: Path) -> None:
    """On ten classes told apart by the largest of ten inputs, a model that mixes up two of them."""
    eye = np.eye(10, dtype=np.float32)
    swapped = eye[[1, 0, *range(2, 10)]]
    for name, weight in (("right", eye), ("mixed", swapped)):
        onnx.save(parse("g (float[N,10] x) => (float[N,10] y) { y = MatMul(x, w) }", w=weight), f"{name}.onnx")
    np.savez(folder / "labelled.npz", x=np.tile(eye, (13, 1)), labels=np.tile(np.arange(10), 13))
    words = ("compare", "right.onnx", "mixed.onnx", "--data", "labelled.npz", "--metric", "top1", "--json", "c.json")
    assert command(*words, "--max-drop", 20).returncode == 0
    assert json.loads(Path("c.json").read_text())["score"] == {
        "metric": "top1",
        "unit": "%",
        "first": 100.0,
        "second": 80.0,
    }
    done = command(*words, "--max-drop", 19.9, "--quiet")
    assert done.returncode == 1
    assert done.stdout == "FAILED: top1: 100.00 % become 80.00, 20.00 lost of at most 19.9 (--max-drop)\n"
    assert "give --metric" in command("compare", "right.onnx", "mixed.onnx", "--max-drop", 1).stderr
    assert "wants labels" in command("compare", "right.onnx", "mixed.onnx", "--metric", "top1").stderr


def test_a_card_brings_data_and_metric(command: Command) -> None:
    assert command("quantize", "digits_mobilenet", "--no-build", "-b", "openvino", "-o", "q.onnx").returncode == 0
    done = command("compare", "digits_mobilenet", "q.onnx", "--engine", "openvino", "--max-drop", 1, "--batch", 64)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "top1: 99.80 %" in done.stdout and "8 runs" in done.stdout and "INT8: 100.0 %" in done.stdout
