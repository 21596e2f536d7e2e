"""``onnxq provenance``: what a file tells, to read and as JSON."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import onnx

from onnxq.recipe import load_recipe
from onnxq.validation import parse_yaml

Command = Callable[..., "subprocess.CompletedProcess[str]"]
TINY = ("quantize", "tiny.onnx", "--data", "data.npz", "-q", "-b", "openvino", "-o", "q.onnx")


def test_it_is_printed(command: Command, folder: Path) -> None:
    assert command(*TINY).returncode == 0
    done = command("provenance", "q.onnx")
    assert done.returncode == 0
    assert done.stdout.startswith("made by   onnxq quantize, for openvino\nmodel     sha256 ")
    assert "samples   8, sha256 " in done.stdout and " dB, on 8 samples" in done.stdout
    shown = done.stdout.partition("\nrecipe\n")[2]
    assert load_recipe(parse_yaml(shown, "shown")) == load_recipe("default")


def test_it_is_printed_as_json(command: Command, folder: Path) -> None:
    assert command(*TINY, "--no-build").returncode == 0
    found = json.loads(command("provenance", "q.onnx", "--json").stdout)
    assert (found["backend"], found["given"]["count"], found["accuracy"]) == ("openvino", 8, None)
    assert set(found["versions"]) >= {"onnxq", "onnx", "onnxruntime", "numpy"}


def test_nothing_of_this_machine_is_in_the_file(command: Command, folder: Path) -> None:
    for place in ("one", "two"):
        (folder / place).mkdir()
        for name in ("tiny.onnx", "data.npz"):
            (folder / place / name).write_bytes((folder / name).read_bytes())
        here = folder / place
        words = ("quantize", here / "tiny.onnx", "--data", here / "data.npz", "-q", "-o", here / "q.onnx")
        assert command(*words).returncode == 0
    one, two = ((folder / place / "q.onnx").read_bytes() for place in ("one", "two"))
    assert one == two and str(folder).encode() not in one
    added = sum(len(entry.key) + len(entry.value) for entry in onnx.load_from_string(one).metadata_props)
    assert added < 2500


def test_a_file_that_tells_nothing(command: Command) -> None:
    done = command("provenance", "tiny.onnx")
    assert done.returncode == 2 and "tells nothing of where it comes from" in done.stderr
    assert command("provenance", "data.npz").returncode == 2
