"""``onnxq inspect``: what it prints and writes, and how it ends."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import onnx
import pytest
import typer.main

from onnxq.testing import normal, parse

Command = Callable[..., "CompletedProcess[str]"]


def test_a_page_and_facts(command: Command, folder: Path) -> None:
    done = command("inspect", "tiny.onnx", "--json", "facts.json")
    assert (done.returncode, done.stderr) == (0, "")
    for title in ("onnxruntime", "OpenVINO", "TensorRT"):
        assert f"{title}  would be integer: 1 of 1 layers, 100.0 % of the MACs" in done.stdout
    assert "widest spread" in done.stdout
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["model"] == "tiny.onnx" and facts["versions"]["onnx"]
    assert facts["contents"]["operators"][0] == {
        "op": "Conv",
        "nodes": 1,
        "macs": 64 * 4 * 27,
        "weight_bytes": 4 * (4 * 27 + 4),
        "output_bytes": 4 * 4 * 64,
    }
    assert facts["plans"]["openvino"]["integer"] == ["conv"]
    assert len(facts["weights"][0]["ranges"]) == 4
    assert list(folder.glob("*.onnx")) == [folder / "tiny.onnx"]


def test_a_card_for_a_target(command: Command) -> None:
    done = command("inspect", "digits_mobilenet", "-b", "snpe", "--all")
    assert done.returncode == 0
    assert "SNPE  would be integer: 23 of 23 layers" in done.stdout
    assert "23 layers get one grid for all channels" in done.stdout
    assert "--all" not in done.stdout


def test_free_sizes(command: Command, folder: Path) -> None:
    model = parse("g (float[N,T,4] x) => (float[N,T,5] y) { [a] y = MatMul(x, w) }", w=normal(4, 5))
    onnx.save(model, folder / "free.onnx")
    said = " ".join(command("inspect", "free.onnx").stdout.split())
    assert "1 whose shapes are not known: --shape x:1,... tells free sizes" in said
    assert "140 MACs a sample" in command("inspect", "free.onnx", "--shape", "x:2,7,4").stdout


def test_a_quantized_model(command: Command, folder: Path) -> None:
    assert command("quantize", "tiny.onnx", "--data", "data.npz", "--no-build", "-o", "q.onnx").returncode == 0
    done = command("inspect", "q.onnx")
    assert done.returncode == 0
    said = " ".join(done.stdout.split())
    assert "No plan: q.onnx: already quantized" in said and "IR 8, quantized" in said
    assert "would be integer" not in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gone.onnx"], "gone.onnx: no such file"),
        (["data.npz"], "data.npz: not an ONNX file"),
        (["digits_mobilent"], "Did you mean 'digits_mobilenet'?"),
        (["tiny.onnx", "-b", "opnvino"], "Did you mean 'openvino'?"),
        (["tiny.onnx", "--shape", "x"], "NAME:1,3,224,224"),
        (["tiny.onnx", "--shape", "x:1,4,8,8"], "does not fit"),
        (["tiny.onnx", "--recipe", "dfault"], "Did you mean 'default'?"),
        (["tiny.onnx", "--json", "tiny.onnx"], "is read or written already"),
        (["tiny.onnx", "--json", "data.npz/facts.json"], "data.npz"),
    ],
)
def test_what_the_user_can_mend(command: Command, arguments: list[str], words: str) -> None:
    done = command("inspect", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("onnxq: ") and words in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_shell_completes() -> None:
    from onnxq.cli.main import app

    command = typer.main.get_command(app).commands["inspect"]  # type: ignore[attr-defined]
    (option,) = (entry for entry in command.params if entry.name == "backend")
    context = command.make_context("inspect", ["tiny.onnx"])
    assert [item.value for item in option.shell_complete(context, "op")] == ["openvino"]
