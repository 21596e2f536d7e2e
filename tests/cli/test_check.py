"""``onnxq check``: what it prints, and how it ends."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import onnx
import pytest

from onnxq.handmade import I8, POSITIVE, U8, Grid, handmade
from onnxq.testing import normal, parse

Command = Callable[..., "CompletedProcess[str]"]
W = I8.along(0)


@pytest.fixture
def quantized(folder: Path) -> Callable[..., Path]:
    """tiny.onnx with Q/DQ, in a file."""

    def make(name: str = "tiny.int8.onnx", **grids: Grid) -> Path:
        onnx.save(handmade(onnx.load(folder / "tiny.onnx"), grids or {"x": U8, "r": POSITIVE, "w": W}), folder / name)
        return folder / name

    return make


def test_a_right_model(command: Command, quantized: Callable[..., Path]) -> None:
    done = command("check", quantized(), "--float", "tiny.onnx", "--data", "data.npz", "--batch", "1", "--batch", "8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "INT8: 1 of 1 layers, 100.0 % of the MACs" in done.stdout
    assert "inputs: data.npz, 8 samples" in done.stdout
    assert "compared with: the float model given" in done.stdout
    assert "QLinearConv" in done.stdout and "No findings." in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines() if " dB" in line] == ["1", "8"]


def test_findings_say_why_and_how_to_mend(command: Command, quantized: Callable[..., Path]) -> None:
    model = quantized(x=U8, w=W)  # the Conv's output is not quantized
    done = command("check", model)
    assert done.returncode == 0
    assert "output_needed  runs in float  1 × conv" in done.stdout
    assert "INT8: 0 of 1 layers" in done.stdout and "→ Put Q/DQ" in done.stdout
    done = command("check", model, "--require-int8", "0.95", "--quiet")
    assert done.returncode == 1
    assert done.stdout.strip() == "FAILED on onnxruntime: --require-int8 0.95: 0.0 % of the MACs are INT8"
    assert command("check", quantized("good.onnx"), "--require-int8", "0.95", "--quiet").stdout == ""


def test_a_float_model(command: Command) -> None:
    done = command("check", "tiny.onnx")
    assert done.returncode == 0
    assert "Not quantized: no Q/DQ nodes" in done.stdout
    assert "(nothing quantized in the graph)" in " ".join(done.stdout.split())
    assert command("check", "tiny.onnx", "--require-int8", "0.5").returncode == 1


def test_a_refusal_and_several_backends(command: Command, quantized: Callable[..., Path], folder: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    model = quantized()
    done = command("check", model, "-b", "onnxruntime", "-b", "tensorrt", "--json", "facts.json")
    assert done.returncode == 1
    assert "The engine cannot run this model: TensorRT's parser refuses" in " ".join(done.stdout.split())
    assert "asymmetric  refused by the engine" in done.stdout
    assert "FAILED on TensorRT: refused, or wrong answers: see above" in done.stdout
    facts = json.loads((folder / "facts.json").read_text())
    good, bad = facts["backends"]["onnxruntime"], facts["backends"]["tensorrt"]
    assert good["int8_macs"] == 1 and good["failures"] == [] and good["reading"]["layers"][0]["precision"] == "int8"
    assert good["parities"][0]["outputs"][0]["graph_float"] > 20
    assert bad["int8_macs"] is None and bad["reading"] is None and len(bad["failures"]) >= 2
    assert {entry["rule"] for entry in bad["findings"]} >= {"asymmetric", "unsigned"}
    assert facts["versions"]["onnxruntime"]


def test_wrong_answers_end_with_1(command: Command, folder: Path) -> None:
    pytest.importorskip("openvino")
    text = "g (float[N,3,8,8] x) => (float[N,4,8,8] y) { [cat] s = Concat<axis = 1>(x, x) [one] y = Conv(s, w) }"
    onnx.save(handmade(parse(text, 17, w=normal(4, 6, 1, 1)), s=I8, w=W), folder / "wrong.onnx")
    done = command("check", "wrong.onnx", "-b", "openvino", "--quiet")
    assert done.returncode == 1
    assert "FAILED on OpenVINO: outputs: At batch 1 OpenVINO's output is" in " ".join(done.stdout.split())
    assert "signed_concat" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.onnx"], "no such file"),
        (["tiny.onnx", "-b", "openvin"], "Did you mean 'openvino'"),
        (["tiny.onnx", "--data", "data.npz", "--batch", "64"], "--batch 64 wants 64 samples"),
        (["tiny.onnx", "--data", "none.npz"], "none.npz"),
        (["tiny.onnx", "--float", "none.onnx"], "no such file"),
        (["tiny.onnx", "--json", "data.npz/x.json"], "data.npz"),
        (["data.npz"], "data.npz"),
    ],
)
def test_user_errors_are_one_sentence(command: Command, arguments: list[str], message: str) -> None:
    done = command("check", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr


def test_long_tables_are_cut_and_all_shows_them(command: Command, folder: Path) -> None:
    layers = " ".join(f"[layer{i}] t{i + 1} = MatMul(t{i}, w)" for i in range(20))
    text = f"g (float[N,4] t0) => (float[N,4] y) {{ {layers} y = Identity(t20) }}"
    onnx.save(parse(text, w=np.eye(4, dtype=np.float32)), folder / "long.onnx")
    short, long = command("check", "long.onnx"), command("check", "long.onnx", "--all")
    assert "and 8 more layers: --all shows them" in short.stdout
    assert short.stdout.count("MatMul") < long.stdout.count("MatMul")
    assert "layer19" in long.stdout
