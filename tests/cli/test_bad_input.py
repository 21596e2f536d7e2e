"""Whatever the user can mend is one line on stderr that names it, exit code 2, and not a file more than before."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxq.models.card import load_card
from onnxq.testing import normal, parse

Command = Callable[..., "subprocess.CompletedProcess[str]"]
GOOD = normal(8, 3, 8, 8, seed=2)
WITH_DATA = ("--data", "data.npz")
TINY = ("tiny.onnx", *WITH_DATA)
RELU = "g (float[N,3,8,8] x) => (float[N,3,8,8] y) { [relu] y = Relu(x) }"


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file below ``folder``, hidden ones too, and every folder as None."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def refused(command: Command, folder: Path) -> Callable[..., str]:
    """Runs the command, which must fail as it should, with an output file in the way; what it said."""

    def run(*arguments: object) -> str:
        for name in ("tiny.onnxruntime.onnx", "facts.json", "report.html"):
            if not (folder / name).exists():
                (folder / name).write_text("of an earlier run")
        before = contents(folder)
        wishes = [word for word in ("--json", "facts.json", "--report", "report.html") if word not in arguments]
        done = command("quantize", *arguments, *(wishes if len(wishes) == 4 else []))
        assert contents(folder) == before
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert done.stderr.startswith("onnxq: ")
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.endswith("\n")
        assert "Traceback" not in done.stderr
        return done.stderr

    return run


def assert_says(said: str, *words: str) -> None:
    assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gone.onnx", ["gone.onnx: no such file"]),
        ("digits_mobilent", ["unknown card", "Did you mean 'digits_mobilenet'?", "Or give an .onnx file"]),
        ("text.onnx", ["text.onnx: not an ONNX file, or cut off (5 bytes)"]),
        ("empty.onnx", ["empty.onnx: this is not an ONNX model"]),
        ("data.npz", ["data.npz: not an ONNX file"]),
        ("old.onnx", ["old.onnx: opset 5", "need opset 13", "No Adapter", "Export the model with opset 13 or later"]),
        ("new.onnx", ["new.onnx: opset 99", f"up to {onnx.defs.onnx_opset_version()}", "pip install --upgrade"]),
        ("relu.onnx", ["nothing to quantize", "onnxruntime", "it has none"]),
        ("invalid.onnx", ["invalid.onnx: not a valid ONNX model", "Nope"]),
        ("foreign.onnx", ["onnxruntime cannot load the model", "mine"]),
    ],
)
def test_models(refused: Callable[..., str], folder: Path, model: str, words: list[str]) -> None:
    (folder / "text.onnx").write_text("hello")
    (folder / "empty.onnx").touch()
    tile = "g (float[2,3] x, float[1] t, float[1] a) => (float[A,B] y) { y = Tile(x, t, a) }"
    onnx.save(parse(tile, opset=5), folder / "old.onnx")
    new = onnx.load(folder / "tiny.onnx")
    new.opset_import[0].version = 99
    onnx.save(new, folder / "new.onnx")
    onnx.save(parse(RELU), folder / "relu.onnx")
    onnx.save(parse(RELU.replace("Relu", "Nope")), folder / "invalid.onnx")
    foreign = parse(RELU.replace("Relu(x)", "mine.Strange(x)"))
    foreign.opset_import.append(onnx.helper.make_opsetid("mine", 1))
    onnx.save(foreign, folder / "foreign.onnx")
    assert_says(refused(model, *WITH_DATA), *words)


def test_a_model_cut_off_anywhere(refused: Callable[..., str], folder: Path) -> None:
    whole = (folder / "tiny.onnx").read_bytes()
    for length in (1, 100, len(whole) // 2, len(whole) - 5, len(whole) - 1):
        (folder / "cut.onnx").write_bytes(whole[:length])
        assert_says(refused("cut.onnx", *WITH_DATA), "cut.onnx: ", "again")


def test_a_quantized_model(refused: Callable[..., str], command: Command) -> None:
    assert command("quantize", *TINY, "--no-build", "-o", "q.onnx").returncode == 0
    assert_says(refused("q.onnx", *WITH_DATA), "q.onnx: already quantized", "QuantizeLinear", "Give the FP32 model")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"X": GOOD}, ["unknown input 'X'", "Valid: x"]),
        ({"x": GOOD[:, :, :, :5]}, ["input 'x' is float32[", "3,8,5]", "wants float32[N,3,8,8]"]),
        ({"x": GOOD.transpose(0, 2, 3, 1)}, ["looks like NHWC: array.transpose(0, 3, 1, 2)"]),
        ({"x": GOOD[0]}, ["Add a batch axis: array[None]"]),
        ({"x": GOOD.astype(np.int64)}, ["input 'x' is int64[", "array.astype('float32')"]),
        ({"x": GOOD.astype(np.complex64)}, ["input 'x' is complex64["]),
        ({"x": GOOD[:0]}, ["holds 0 samples"]),
        ({}, ["holds no arrays"]),
        (
            {"x": np.where(np.arange(8)[:, None, None, None] == 5, np.nan, GOOD)},
            ["sample 5 (from 0) of input 'x'", "NaN"],
        ),
        ({"x": np.where(np.arange(8)[:, None, None, None] == 6, np.inf, GOOD)}, ["sample 6 (from 0) of input 'x'"]),
        ({"x": GOOD * 0}, ["every value of input 'x' is zero"]),
        ({"x": GOOD, "labels": np.arange(3)}, ["'labels' has 3 samples and 'x' has 8"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_data(refused: Callable[..., str], folder: Path, arrays: Mapping[str, np.ndarray], words: list[str]) -> None:
    single = {name: array.astype(np.float32) if array.dtype == np.float64 else array for name, array in arrays.items()}
    np.savez(folder / "bad.npz", allow_pickle=False, **single)
    assert_says(refused("tiny.onnx", "--data", "bad.npz"), "bad.npz", *words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, ["no calibration data", "--data", "random"]),
        ("gone.npz", ["gone.npz: no such file or folder"]),
        ("tiny.onnx", ["tiny.onnx: is none of the kinds of data"]),
        ("cut.npz", ["cut.npz"]),
        ("bare", ["bare: a folder of data holds images or arrays"]),
        ("feeds.py:sample", ["unknown function 'sample'", "Did you mean 'samples'?"]),
        ("feeds.py:samples", ["feeds.py:samples: failed with ValueError: no luck (feeds.py, line 2)"]),
    ],
)
def test_where_data_is(refused: Callable[..., str], folder: Path, data: str | None, words: list[str]) -> None:
    (folder / "cut.npz").write_bytes((folder / "data.npz").read_bytes()[:200])
    (folder / "bare").mkdir()
    (folder / "feeds.py").write_text("def samples():\n    raise ValueError('no luck')\n")
    assert_says(refused("tiny.onnx", *(["--data", data] if data else [])), *words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--backend", "openvin"], ["unknown backend 'openvin'", "Did you mean 'openvino'?", "onnxruntime, openvino"]),
        (["--calibrator", "minmaks"], ["unknown calibrator 'minmaks'", "Did you mean 'minmax'?", "percentile"]),
        (["--recipe", "defalt"], ["unknown recipe 'defalt'", "Did you mean 'default'?", "Or give a YAML file"]),
        (["--recipe", "gone.yaml"], ["gone.yaml: no such file"]),
        (["--report", "r.pdf"], ["r.pdf: a report ends in .html, .svg, .txt"]),
        (["--preprocess", "imagnet"], ["unknown preprocessing 'imagnet'", "Did you mean 'imagenet'?"]),
        (["--preprocess", "{resise: 8}"], ["unknown field 'resise'", "Did you mean 'resize'?"]),
        (["--samples", "0"], ["samples: 0 is less than 1", "--samples"]),
        (["--batch", "-1"], ["batch: -1 is less than 1", "--batch"]),
        (
            ["--activation-bits", "9"],
            ["activation_bits: 9 is not a whole number from 2 to 8, or 16", "--activation-bits"],
        ),
        (["--activation-bits", "4,last=17"], ["'last' is 17, not a whole number"]),
        (["--activation-bits", "few"], ["'few' is no number of bits", "4,first=8,last=8"]),
        (["--activation-bits", "16", "--backend", "tensorrt"], ["TensorRT takes no activations of 16 bits"]),
        (["--solver", "gtpq"], ["unknown solver 'gtpq'", "Did you mean 'gptq'?"]),
        (["--weight-bits", "9"], ["weight_bits: 9 is not a whole number from 2 to 8", "--weight-bits"]),
        (["--weight-bits", "4.5"], ["weight_bits: 4.5 is not a whole number", "--weight-bits"]),
        (["--weight-bits", "few"], ["--weight-bits: 'few' is no number of bits", "Give 4, or 4,first=8,last=8"]),
        (["--weight-bits", "budget=9"], ["weight_bits: a budget of 9", "2 to 8 bits", "--weight-bits"]),
        (["--weight-bits", "4,frist=8"], ["weight_bits: unknown key 'frist'", "Did you mean 'first'?"]),
        (["--exclude", "(conv"], ["exclude: '(conv' is not a regular expression", "position 0"]),
        (["--exclude", ".*"], ["nothing to quantize", "excluded by '.*'"]),
        (["--keep-float", "Conv"], ["nothing to quantize", "Conv is kept in float on request"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("--") else "",
)
def test_options(refused: Callable[..., str], options: list[str], words: list[str]) -> None:
    assert_says(refused(*TINY, *options), *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("passes: [plan, {b: \n", ["line 2: not valid YAML"]),
        ("- plan\n", ["must be a mapping of fields"]),
        ("passes: [plam]", ["unknown pass 'plam'", "Did you mean 'plan'?", "module:Class"]),
        ("passes: [nowhere:Mine]", ["pass 'nowhere:Mine' cannot be imported"]),
        ("passes: [{calibrate: {activation: mse}}]", ["'calibrate'", "'activation'", "Did you mean 'activations'?"]),
        ("passes: [{calibrate: {activations: [1]}}]", ["'calibrate'", "'activations'"]),
        ("passes: [{round_weights: {bits: 16}}]", ["'round_weights'", "'bits'"]),
        ("passes: [{round_weights: {bits: {first: 16}}}]", ["'round_weights': bits: 'first' is 16, not", "2 to 8"]),
        ("passes: [{round_weights: {bits: {'(': 4}}}]", ["bits: '(' is not a regular expression on names of nodes"]),
        ("passes: [{plan: {exclude: ['(']}}]", ["not a regular expression"]),
        ("pases: [plan]", ["unknown field 'pases'", "Did you mean 'passes'?"]),
        ("backend: openvin\npasses: [plan]", ["unknown backend 'openvin'"]),
        ("passes: []", ["without integers", "insert_qdq"]),
        ("passes: [plan, calibrate, round_weights]", ["without integers", "insert_qdq"]),
        ("passes: [calibrate, plan, insert_qdq]", ["nothing is planned when 'calibrate' runs", "Put 'plan' before"]),
        ("passes: [plan, {round_weights: {solver: gptq}}, insert_qdq]", ["no grid when 'round_weights' runs"]),
        ("passes: [plan, round_weights, insert_qdq]", ["has no grid when 'insert_qdq' runs", "Put 'calibrate' before"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_recipes(refused: Callable[..., str], folder: Path, text: str, words: list[str]) -> None:
    (folder / "mine.yaml").write_text(text)
    assert_says(refused(*TINY, "--recipe", "mine.yaml"), *words)


@pytest.mark.parametrize(
    ("wrong", "right", "words"),
    [
        ("{name: tob1}", "{name: top1}", ["unknown metric 'tob1'", "Did you mean 'top1'?", "box_ap"]),
        ("{name: top1, kk: 2}", "{name: top1}", ["metric top1: unknown field 'kk'", "Valid: output"]),
        ("tset: test.npz", "test: test.npz", ["card.yaml: unknown field 'tset'", "Did you mean 'test'?"]),
        ("test: gone.npz", "test: test.npz", ["field 'test': no such file", "gone.npz"]),
        ("recipe: defautl", "recipe: default", ["unknown recipe 'defautl'", "Did you mean 'default'?"]),
        ("input: imag", "input: image", ["unknown input 'imag'", "Did you mean 'image'?"]),
    ],
)
def test_cards(refused: Callable[..., str], folder: Path, wrong: str, right: str, words: list[str]) -> None:
    shutil.copytree(load_card("digits_mobilenet").folder, folder / "mine")
    text = (folder / "mine/card.yaml").read_text()
    assert right in text
    (folder / "mine/card.yaml").write_text(text.replace(right, wrong))
    assert_says(refused("mine/card.yaml"), *words)


def test_bad_test_data_after_good_calibration(refused: Callable[..., str], folder: Path) -> None:
    shutil.copytree(load_card("digits_mobilenet").folder, folder / "mine")
    images = np.load(folder / "mine/test.npz")
    np.savez(folder / "mine/test.npz", **{**images, "labels": images["labels"] / 2})
    assert_says(refused("mine", "--samples", 8), "top1 wants one whole number a sample as labels", "float64")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "data.npz/q.onnx"], ["data.npz/q.onnx: cannot be written", "Choose another place"]),
        (["-o", "/proc/q.onnx"], ["/proc/q.onnx: cannot be written"]),
        (["-o", "/proc/new/q.onnx"], ["/proc/new/q.onnx: cannot be written"]),
        (["-o", "{backend}.folder"], ["onnxruntime.folder: is a folder"]),
        (["--json", "onnxruntime.folder"], ["onnxruntime.folder: is a folder"]),
        (["--report", "/proc/r.txt"], ["/proc/r.txt: cannot be written"]),
        (["-o", "tiny.onnx"], ["tiny.onnx: is read or written already"]),
        (["-o", "./tiny.onnx"], ["tiny.onnx: is read or written already"]),
        (["--json", "data.npz"], ["data.npz: is read or written already"]),
        (["-o", "same", "--json", "same"], ["same: is read or written already"]),
        (["-b", "openvino", "-b", "onnxruntime", "-o", "q.onnx"], ["one file cannot hold 2 graphs", "folder"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("-") else "",
)
def test_outputs(refused: Callable[..., str], folder: Path, options: list[str], words: list[str]) -> None:
    (folder / "onnxruntime.folder").mkdir()
    assert_says(refused(*TINY, *options), *words)


@pytest.mark.parametrize("words", [["--samples", "many"], ["--sample", "3"]])
def test_words_that_are_no_options(command: Command, folder: Path, words: list[str]) -> None:
    before = contents(folder)
    done = command("quantize", *TINY, *words)
    assert (done.returncode, done.stdout, contents(folder)) == (2, "", before)
    assert "Traceback" not in done.stderr
    assert words[0] in done.stderr


WITHOUT = """
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Gone())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {names} else found(name, package)
from onnxq.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("backend", "modules", "extra"),
    [("openvino", ["openvino"], "openvino"), ("tensorrt", ["tensorrt", "tensorrt_rtx"], "tensorrt-rtx")],
)
def test_an_engine_that_is_not_installed(folder: Path, backend: str, modules: list[str], extra: str) -> None:
    before = contents(folder)
    words = [sys.executable, "-c", WITHOUT.format(names=modules), "quantize", *TINY, "--backend", backend]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout, contents(folder)) == (2, "", before)
    assert done.stderr.count("\n") == 1
    assert "is not installed" in done.stderr
    assert f"pip install 'onnxq[{extra}]'" in done.stderr
    done = subprocess.run([*words, "--no-build", "-q"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")  # the graph needs no engine
    assert (folder / f"tiny.{backend}.onnx").is_file()


def test_a_process_of_its_own_ends_the_same_way(folder: Path) -> None:
    before = contents(folder)
    words = [sys.executable, "-m", "onnxq", "quantize", "gone.onnx", *WITH_DATA]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "FORCE_COLOR": "1"})
    assert (done.returncode, done.stdout, contents(folder)) == (2, "", before)
    assert done.stderr == "onnxq: gone.onnx: no such file. Give the path of an .onnx model, or of a model card.\n"


def test_a_cluster_that_is_not_there(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxq.cluster.connection.ANSWER", 1)
    assert_says(refused(*TINY, "--cluster", "127.0.0.1:9"), "127.0.0.1:9", "nobody answers", "dask scheduler")
