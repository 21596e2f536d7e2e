"""``onnxq tune``: what it prints and writes, the command that makes the graph again, and how it ends."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from onnxq.testing import normal

Command = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def labelled(folder: Path) -> Path:
    """Test data whose labels are next to random."""
    np.savez(folder / "test.npz", x=normal(64, 3, 8, 8, seed=5), labels=np.arange(64) % 4)
    return folder


def test_a_card(command: Command, folder: Path) -> None:
    done = command("tune", "digits_mobilenet", "-b", "openvino", "--budget", "60s", "--json", "facts.json")
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "FP32: top1 99.80 %" in said and "the recipe as it is" in said and "Keeps the accuracy: top1" in said
    graph = folder / "digits_mobilenet.openvino.tuned.onnx"
    before = graph.read_bytes()
    again = re.search(r"byte for byte, by: (onnxq quantize .*?) speed on OpenVINO", said)
    assert again is not None, said
    words = shlex.split(again[1])
    assert command(*words[1:], "--no-build", "-q").returncode == 0
    assert graph.read_bytes() == before
    facts = json.loads((folder / "facts.json").read_text())["tuned"]
    assert facts["keeps"] is True and facts["outcomes"][0]["int8"] == 1.0 and facts["counterexamples"] == []
    assert facts["recipe"] == graph.with_suffix(".yaml").read_text()


def test_nothing_keeps_the_accuracy(command: Command, labelled: Path) -> None:
    asked = ("tune", "tiny.onnx", "--data", "data.npz", "--test", "test.npz", "--metric", "top1", "--max-drop", "-200")
    done = command(*asked, "--budget", "20", "-o", "out.onnx", "-q")
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("FAILED: ") and "--max-drop" in done.stdout
    assert (labelled / "out.onnx").exists() and (labelled / "out.tune.jsonl").exists()
    more = command(*asked, "--budget", "20", "-o", "out.onnx")
    said = " ".join(more.stdout.split())
    assert "by an earlier run" in said and " loses" in said and "had to do better on them" in said


def test_what_the_user_can_mend(command: Command, labelled: Path) -> None:
    data = ("--data", "data.npz", "--metric", "agreement")
    done = command("tune", "tiny.onnx", *data, "-o", "data.npz")
    assert done.returncode == 2 and "Choose another name" in done.stderr
    done = command("tune", "tiny.onnx", *data, "--budget", "soon")
    assert done.returncode == 2 and "is no time" in done.stderr
    done = command("tune", "tiny.onnx", "--data", "data.npz", "--metric", "top1")
    assert done.returncode == 2 and "labels" in done.stderr
    assert not list(labelled.glob("*.tuned.*"))
