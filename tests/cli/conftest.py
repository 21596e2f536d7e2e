"""The command, run in a folder of its own, and a model small enough to be quantized in a moment."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxq.cli.main import main
from onnxq.testing import normal, parse

TINY = """tiny (float[N,3,8,8] x) => (float[N,4] y)
{ [conv] c = Conv<pads = [1,1,1,1]>(x, w, b) [relu] r = Relu(c) [pool] p = GlobalAveragePool(r) [flat] y = Flatten(p) }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with tiny.onnx and data.npz in it."""
    monkeypatch.chdir(tmp_path)
    onnx.save(parse(TINY, w=normal(4, 3, 3, 3), b=normal(4, seed=1)), tmp_path / "tiny.onnx")
    np.savez(tmp_path / "data.npz", x=normal(8, 3, 8, 8, seed=2))
    return tmp_path


@pytest.fixture
def command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """``onnxq ARGUMENTS`` in this process: what a console script does, without the second it takes to start."""

    def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
        words = [str(argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["onnxq", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(words, int(end.value.code or 0), out, err)

    return run
