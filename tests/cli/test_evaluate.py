"""``onnxq evaluate``: what it prints, and how it ends."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import onnx
import pytest

from onnxq.handmade import I8, POSITIVE, U8, handmade
from onnxq.testing import normal, run

Command = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def labelled(folder: Path) -> Path:
    """tiny.int8.onnx beside tiny.onnx, and samples of which tiny.onnx has three of four right."""
    tiny = onnx.load(folder / "tiny.onnx")
    onnx.save(handmade(tiny, x=U8, r=POSITIVE, w=I8.along(0)), folder / "tiny.int8.onnx")
    images = normal(40, 3, 8, 8, seed=5)
    labels = (run(tiny, x=images)["y"].argmax(1) + (np.arange(40) % 4 == 0)) % 4
    np.savez(folder / "test.npz", x=images, labels=labels)
    return folder


def test_a_row_for_every_model_and_engine(command: Command, labelled: Path) -> None:
    pytest.importorskip("openvino")
    engines = ["-e", "simulation", "-e", "onnxruntime", "-e", "openvino"]
    words = ["tiny.onnx", "--model", "tiny.int8.onnx", "--data", "test.npz", "--metric", "top1", *engines]
    done = command("evaluate", *words, "--batch", 16, "--json", "facts.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test.npz, 40 samples; 40 measured, batch 16" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("tiny")]
    assert [row[:2] for row in rows] == [[f"tiny{kind}.onnx", e] for kind in ("", ".int8") for e in engines[1::2]]
    assert "75.00" in rows[0] and "1 of 1" in " ".join(rows[4]) and "Q/DQ" in rows[3]
    assert "deployed: OpenVINO" in done.stdout and "simulation: not deployed" in done.stdout
    facts = json.loads((labelled / "facts.json").read_text())
    found = facts["evaluated"]["rows"]
    assert found[0]["values"] == [{"metric": "top1", "unit": "%", "compares": False, "value": 75.0, "lost": 0.0}]
    assert found[4]["deployed"] is True and found[4]["reading"]["layers"][0]["precision"] == "int8"
    assert facts["versions"]["onnxruntime"] and found[4]["samples"] == 40


def test_a_reference_and_metrics_without_labels(command: Command, labelled: Path) -> None:
    words = ["tiny.int8.onnx", "--reference", "tiny.onnx", "--data", "data.npz", "--metric", "sqnr", "--metric"]
    done = command("evaluate", *words, "agreement,output=y", "--samples", 6)
    assert done.returncode == 0, done.stdout + done.stderr
    reference, row = [line.split() for line in done.stdout.splitlines() if line.startswith("tiny")]
    assert reference[-3:-1] == ["ref", "ref"] and 20 < float(row[-3]) < 60 and 0 <= float(row[-2]) <= 100
    assert "the first 6 of 8 samples" in done.stdout and "lost" not in done.stdout


def test_a_card_brings_data_and_metric(command: Command) -> None:
    done = command("evaluate", "digits_mobilenet", "--samples", 100, "--batch", 50, "-e", "simulation")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "digits_mobilenet" in done.stdout and "top1" in done.stdout and "100.00" in done.stdout


def test_your_own_metric(command: Command, labelled: Path) -> None:
    (labelled / "mine.py").write_text(
        "def right(outputs, labels):\n    return (outputs['y'].argmax(1) == labels).sum()\n"
    )
    done = command("evaluate", "tiny.onnx", "--data", "test.npz", "--metric", "mine.py:right")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "right" in done.stdout and "30.00" in done.stdout


def test_what_an_engine_refuses_ends_with_1(command: Command, labelled: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    words = ["tiny.int8.onnx", "--data", "test.npz", "--metric", "top1", "-e", "onnxruntime", "-e", "tensorrt"]
    done = command("evaluate", *words)
    assert done.returncode == 1
    assert "FAILED: tiny.int8.onnx on tensorrt: TensorRT's parser refuses" in " ".join(done.stdout.split())
    quiet = command("evaluate", *words, "--quiet")
    assert quiet.returncode == 1 and quiet.stdout.startswith("FAILED: tiny.int8.onnx on tensorrt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.onnx", "--data", "test.npz", "--metric", "top1"], "no such file"),
        (["tiny.onnx", "--data", "test.npz"], "no metric. Give --metric"),
        (["tiny.onnx", "--metric", "top1"], "no samples. Give --data FILE"),
        (["tiny.onnx", "--data", "test.npz", "--metric", "top"], "unknown metric 'top'"),
        (["tiny.onnx", "--data", "data.npz", "--metric", "top1"], "metric top1 wants labels"),
        (["tiny.onnx", "--data", "test.npz", "--metric", "sqnr"], "Give --reference FP32.onnx"),
        (["tiny.onnx", "--data", "test.npz", "--metric", "top1", "-e", "openvin"], "Did you mean 'openvino'"),
        (["tiny.onnx", "--data", "test.npz", "--metric", "none.py:f"], "none.py: no such script"),
        (["tiny.onnx", "--data", "test.npz", "--metric", "top1", "--batch", "0"], "at least 1 is needed"),
        (["tiny.onnx", "--data", "test.npz", "--metric", "top1", "--json", "test.npz/x.json"], "test.npz"),
        (
            ["tiny.onnx", "--data", "test.npz", "--metric", "box_ap,labels=no.json,decoder=yolox"],
            "no.json: is not a COCO instances file",
        ),
    ],
)
def test_user_errors_are_one_sentence(command: Command, labelled: Path, arguments: list[str], message: str) -> None:
    done = command("evaluate", *arguments)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr
