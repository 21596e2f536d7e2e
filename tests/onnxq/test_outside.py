"""Weights over the limit stay in their file from the first step to the last, and nothing else changes."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from large_model import large_model, weights
from onnxq import outside
from onnxq.errors import ModelError, OutputError
from onnxq.execute import Session
from onnxq.model import export, load_model, save_model, to_graph
from onnxq.normalise import raise_opset
from onnxq.options import Options
from onnxq.outside import Place, complete, mapped, outsiders, place, reference, total_bytes
from onnxq.pipeline import quantize
from onnxq.result import Result
from onnxq.testing import Array, normal

LAYERS, WIDTH = 4, 96
X = {"x0": normal(16, WIDTH)}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model with its weights beside it."""
    return large_model(tmp_path, LAYERS, WIDTH)


@pytest.fixture
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of 40 kB is too large, and a quarter of it is not."""
    monkeypatch.setattr(outside, "LIMIT", 70_000)
    monkeypatch.setattr(outside, "SMALL", 1_000)


def test_weights_over_the_limit_are_not_read_in(path: Path, low: None) -> None:
    model = load_model(path)
    assert [tensor.name for tensor in outsiders(model)] == [f"w{i}" for i in range(LAYERS)]
    assert model.ByteSize() < 2_000 and total_bytes(model) > LAYERS * WIDTH**2 * 4
    for tensor, values in zip(outsiders(model), weights(path), strict=True):
        np.testing.assert_array_equal(mapped(tensor), values)
        assert not mapped(tensor).flags.writeable


def test_below_the_limit_they_are(path: Path) -> None:
    model = load_model(path)
    assert not outsiders(model) and total_bytes(model) == model.ByteSize() > LAYERS * WIDTH**2 * 4


def test_weights_on_two_drives_are_refused(path: Path, low: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> str:
        raise ValueError("Paths don't have the same drive")  # as Windows says

    model = load_model(path)
    monkeypatch.setattr("os.path.commonpath", refused)
    with pytest.raises(OutputError, match=r"several drives.*TMPDIR"):
        outside.loadable(model)


def test_onnxruntime_runs_them_where_they_are(path: Path, low: None) -> None:
    expected: Array = X["x0"]
    for weight in weights(path):
        expected = np.maximum(expected @ weight, 0)
    made: Array = Session(load_model(path)).run(X)["x4"]
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


def test_a_graph_and_back_and_another_opset_keep_them_there(path: Path, low: None) -> None:
    model = load_model(path)
    graph = to_graph(model)
    assert not graph.tensors()["w1"].values.flags.writeable
    back = export(graph, model)
    raised = raise_opset(back, 21, "what is asked", "--no")
    assert [tensor.SerializeToString() for tensor in outsiders(back)] == [
        tensor.SerializeToString() for tensor in outsiders(model)
    ]
    assert {tensor.name for tensor in outsiders(raised)} == {tensor.name for tensor in outsiders(model)}
    assert [value.name for value in raised.graph.input] == ["x0"]
    answers = [Session(some).run(X)["x4"] for some in (model, back, raised)]
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])


def test_new_large_constants_go_to_files_of_their_own_and_pieces_of_files_stay(path: Path, low: None) -> None:
    model = load_model(path)
    graph = to_graph(model)
    tensors = graph.tensors()
    tensors["w1"].values = 2 * tensors["w1"].values
    tensors["w2"].values = tensors["w2"].values[:]
    back = {tensor.name: tensor for tensor in outsiders(export(graph, model))}
    files = {name: Path(outside.entries(tensor)["location"]) for name, tensor in back.items()}
    assert files["w0"] == files["w2"] == path.with_name("large.data") != files["w1"]
    np.testing.assert_array_equal(mapped(back["w1"]), 2 * weights(path)[1])
    np.testing.assert_array_equal(mapped(back["w2"]), weights(path)[2])


def test_what_is_a_piece_of_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(np.arange(40, dtype=np.int16).tobytes())
    whole = mapped(reference("a", onnx.TensorProto.INT16, (6, 6), Place(tmp_path / "a", 8)))
    assert whole[0, 0] == 4
    assert place(whole) == Place(tmp_path / "a", 8)
    assert place(whole[2:].reshape(-1)) == Place(tmp_path / "a", 8 + 24)
    assert place(whole.T) is place(whole[:, 1:]) is place(whole + 1) is place(np.copy(whole)) is None


def quantized(path: Path, *backends: str) -> Result:
    return quantize(path, X, backend=backends, options=Options(calibrator="minmax"))


def test_a_model_over_the_limit_is_quantized_as_any_other(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backends = ("onnxruntime", "openvino", "tensorrt")
    before = quantized(path, *backends)
    monkeypatch.setattr(outside, "LIMIT", 70_000)
    monkeypatch.setattr(outside, "SMALL", 1_000)
    after = quantized(path, *backends)
    for name in backends:
        one, other = before[name], after[name]
        assert other.problem is None and other.built is not None and one.built is not None
        assert other.built.int8_nodes == one.built.int8_nodes == LAYERS
        assert abs(other.size_before - one.size_before) < 1_000 and other.size_after == one.size_after
        assert not outsiders(other.model)
        assert other.judged is not None and other.judged.graph[0].sqnr_db > 25
        names = [[node.name for node in some.model.graph.node] for some in (one, other)]
        assert names[0] == names[1]
        for left, right in zip(one.model.graph.initializer, other.model.graph.initializer, strict=True):
            # Kernels sum in another order where the weights are not packed.
            assert left.name == right.name
            wanted, made = (onnx.numpy_helper.to_array(tensor) for tensor in (left, right))
            if wanted.dtype == np.float32:
                np.testing.assert_allclose(made, wanted, rtol=1e-6)
            else:
                assert np.abs(np.subtract(made, wanted, dtype=np.int32)).max() <= 1
    assert after["openvino"].built is not None and after["openvino"].built.fp32_seconds is None
    assert after["onnxruntime"].built is not None and after["onnxruntime"].built.fp32_seconds is not None


def test_what_is_still_over_the_limit_is_two_files(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "LIMIT", 20_000)
    monkeypatch.setattr(outside, "SMALL", 1_000)
    result = quantize(path, X, options=Options(build=False))
    out = tmp_path / "out" / "q.onnx"
    result.save(out)
    assert sorted(file.name for file in out.parent.iterdir()) == ["q.onnx", "q.onnx.data"]
    assert result["onnxruntime"].files(out) == (out, out.with_name("q.onnx.data"))
    first = out.read_bytes(), out.with_name("q.onnx.data").read_bytes()
    result.save(out)
    assert (out.read_bytes(), out.with_name("q.onnx.data").read_bytes()) == first
    judged = Session(complete(result.quantized), optimize=False).run(X)["x4"]
    monkeypatch.setattr(outside, "LIMIT", 2**31 - 1)
    whole = onnx.load(out)
    assert not outsiders(whole) and total_bytes(whole) > 20_000
    onnx.checker.check_model(out, full_check=True)
    np.testing.assert_array_equal(Session(whole, optimize=False).run(X)["x4"], judged)


def test_onnxruntime_builds_what_is_still_over_the_limit_and_others_say_why_they_do_not(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside, "LIMIT", 20_000)
    monkeypatch.setattr(outside, "SMALL", 1_000)
    result = quantized(path, "onnxruntime", "openvino")
    built = result["onnxruntime"].built
    assert built is not None and built.int8_nodes == LAYERS and built.seconds is not None
    assert "lie outside the model" in (result["openvino"].problem or "")


def test_the_weights_of_another_model_are_not_lost(path: Path, low: None, tmp_path: Path) -> None:
    model = load_model(path)
    (tmp_path / "new.onnx.data").write_bytes(b"of another model")
    with pytest.raises(OutputError, match="holds the weights of another model"):
        save_model(model, tmp_path / "new.onnx")
    path.with_name("large.data").rename(path.with_name("large.onnx.data"))
    moved = onnx.load(path, load_external_data=False)
    for tensor in moved.graph.initializer:
        tensor.external_data[0].value = "large.onnx.data"
    path.write_bytes(moved.SerializeToString())
    with pytest.raises(OutputError, match="holds the weights of another model"):
        save_model(load_model(path), path)


@pytest.mark.parametrize("location", ["../large.data", "link/large.data"])
def test_they_may_not_lie_outside_the_folder(path: Path, low: None, tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[1].external_data[0].value = location
    shutil.copy(tmp_path / "large.data", folder)
    onnx.save(model, folder / "m.onnx")
    with pytest.raises(ModelError, match=r"'w1' wants its data .* outside the model's folder"):
        load_model(folder / "m.onnx")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("offset", "-4", "bytes from -4 on are not in the file"),
        ("offset", str(LAYERS * WIDTH**2 * 4), "are not in the file"),
        ("offset", "x", "invalid literal"),
        ("length", "8", "8 bytes are there, and its shape takes 36864"),
        ("location", "no.data", "No such file"),
        ("location", "", "are not in the file|no file"),
    ],
)
def test_a_place_where_they_are_not_is_refused(path: Path, low: None, key: str, value: str, said: str) -> None:
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[2].external_data:
        if entry.key == key:
            entry.value = value
    onnx.save(model, path)
    with pytest.raises(ModelError, match=said) as caught:
        load_model(path)
    assert "tensor 'w2' cannot be read" in str(caught.value)


MEMORY = 1_600_000_000  # bytes of the program's own; a copy of the weights alone is 2.4e9
WATCHED = """
import re, threading
from onnxq.cli.main import main

seen, done = [], threading.Event()

def look():
    while not done.wait(0.05):
        seen.append(int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024)

watcher = threading.Thread(target=look)
watcher.start()
try:
    main()
finally:
    done.set()
    watcher.join()
    print(max(seen))
"""


@pytest.mark.slow
def test_a_model_over_2_gb_is_quantized_in_less_memory_than_it_takes(tmp_path: Path) -> None:
    if shutil.disk_usage(tmp_path).free < 5e9:
        pytest.skip("5 GB of disk are needed")
    path = large_model(tmp_path)
    assert path.with_name("large.data").stat().st_size > 2**31
    x = normal(8, 4096)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "r.yaml").write_text("passes: [plan, calibrate: {activations: minmax}, round_weights, insert_qdq]")
    words = ["quantize", path, "--data", "x.npy", "--recipe", "r.yaml", "--no-build", "--quiet", "-o", "q.onnx"]
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *map(str, words)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < MEMORY
    held = {tensor.name: tensor for tensor in onnx.load(tmp_path / "q.onnx").graph.initializer}
    for index, weight in enumerate(weights(path)):
        assert onnx.numpy_helper.to_array(held[f"x{index}/scale"]) == pytest.approx(
            np.ptp([*x.flat, 0]) / 255, rel=1e-4
        )
        if index % 12 == 0:
            scale = onnx.numpy_helper.to_array(held[f"w{index}/scale"])
            integers = onnx.numpy_helper.to_array(held[f"w{index}/quantized"])
            assert np.abs(weight / scale - integers).max() <= 0.5001
        x = np.maximum(x @ weight, 0)
