"""Statistics from the command line: measured, merged, used; and what goes wrong is one line."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from onnxq.cli.main import app
from onnxq.errors import DataError, OutputError
from onnxq.measured_file import load_measured
from onnxq.testing import normal, parse

MODEL = parse(
    """g (float[N,3,8,8] x) => (float[N,5] y) {
        a = Conv(x, w) b = Relu(a) c = GlobalAveragePool(b) d = Flatten(c) y = Gemm<transB=1>(d, v) }""",
    w=normal(8, 3, 3, 3),
    v=normal(5, 8, seed=1),
)
X = normal(24, 3, 8, 8, seed=2)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(MODEL, tmp_path / "m.onnx")
    for name, some in {"all": X, "first": X[:10], "second": X[10:]}.items():
        np.savez(tmp_path / f"{name}.npz", x=some)
    return tmp_path


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_measured_once_and_used(folder: Path) -> None:
    assert "24 samples" in run("calibrate", "m.onnx", "--data", "all.npz", "-o", "s.npz")
    run("quantize", "m.onnx", "--data", "all.npz", "-o", "plain.onnx", "--no-build")
    run("quantize", "m.onnx", "--data", "all.npz", "-o", "stored.onnx", "--no-build", "--statistics", "s.npz")
    assert (folder / "plain.onnx").read_bytes() == (folder / "stored.onnx").read_bytes()
    assert not list(folder.glob("*.part"))


def test_parts_are_merged_in_their_order(folder: Path) -> None:
    for name in ("first", "second"):
        run("calibrate", "m.onnx", "--data", f"{name}.npz", "-o", f"{name}-s.npz", "-b", "openvino", "-q")
    assert "24 samples" in run("merge", "first-s.npz", "second-s.npz", "-o", "both.npz")
    run("calibrate", "m.onnx", "--data", "all.npz", "-o", "s.npz", "-b", "openvino", "-q")
    both, whole = load_measured(folder / "both.npz"), load_measured(folder / "s.npz")
    np.testing.assert_array_equal(both.samples, whole.samples)
    for word in both.known.keys() & whole.known.keys():
        assert both.known[word].low == pytest.approx(whole.known[word].low, rel=1e-5)


def test_nothing_is_written_over_what_is_read(folder: Path) -> None:
    with pytest.raises(OutputError, match="is read or written already"):
        run("calibrate", "m.onnx", "--data", "all.npz", "-o", "all.npz")
    run("calibrate", "m.onnx", "--data", "first.npz", "-o", "s.npz", "-b", "openvino", "-q")
    with pytest.raises(OutputError, match="is read or written already"):
        run("merge", "s.npz", "s.npz", "-o", "s.npz")
    with pytest.raises(DataError, match="one file is nothing to merge"):
        run("merge", "s.npz", "-o", "t.npz")
    with pytest.raises(DataError, match="10 of its samples are in"):
        run("merge", "s.npz", "s.npz", "-o", "t.npz")
    assert not (folder / "t.npz").exists()
