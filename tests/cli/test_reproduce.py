"""``onnxq reproduce``: 0 where the bytes are the same, 1 where they are not."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from onnxq.testing import normal

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_same_ends_in_0_and_another_in_1(command: Command, folder: Path) -> None:
    words = ("quantize", "tiny.onnx", "--data", "data.npz", "-q", "-b", "openvino", "--weight-bits", "4,first=8")
    assert command(*words, "-o", "q.onnx").returncode == 0
    before = sorted(path.name for path in folder.iterdir())
    again = ("reproduce", "q.onnx", "--model", "tiny.onnx", "--data")
    done = command(*again, "data.npz")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "q.onnx: the same, byte for byte\n"
    np.savez(folder / "other.npz", x=normal(8, 3, 8, 8, seed=3))
    other = command(*again, "other.npz")
    assert other.returncode == 1
    assert other.stdout.startswith(
        "q.onnx: not the same:\n  samples: the samples are other ones, or in another order ("
    )
    assert command(*again[:-1]).returncode == 2
    assert sorted(path.name for path in folder.iterdir()) == sorted([*before, "other.npz"])


def test_a_card_is_enough(command: Command, folder: Path) -> None:
    words = ("quantize", "digits_mobilenet", "-q", "--no-build", "--samples", "8", "-o", "q.onnx")
    assert command(*words).returncode == 0
    assert command("reproduce", "q.onnx", "--model", "digits_mobilenet", "-q").stdout == ""
