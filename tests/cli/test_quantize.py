"""``onnxq quantize`` does what its options say, writes what it was asked for, and says what it did."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from distributed import LocalCluster
from PIL import Image

import onnxq
from onnxq.backends import TARGETS
from onnxq.calibrators import CALIBRATORS
from onnxq.models.card import load_card

Command = Callable[..., "subprocess.CompletedProcess[str]"]
CARD = "digits_mobilenet"
TINY = ("quantize", "tiny.onnx", "--data", "data.npz")
BACKENDS = ("onnxruntime", "openvino", "tensorrt")
OPTIONS = {
    *("--data", "--preprocess", "--samples", "--batch", "--seed", "--statistics", "--cluster"),
    *(
        "--recipe",
        "--calibrator",
        "--solver",
        "--per-tensor",
        "--weight-bits",
        "--block-size",
        "--pack",
        "--weights-only",
        "--numbers",
        "--activation-bits",
        "--exclude",
        "--keep-float",
        "--float",
    ),
    *("--reduce-range", "--no-reduce-range", "--ranges", "--ranges-out"),
    *("--backend", "-b", "--out", "-o", "--build", "--no-build", "--ablate", "--json", "--report", "--quiet", "-q"),
    *("--cache", "--cache-size", "--depfile", "--dry-run", "--max-drop", "--min-int8"),
    *("--help", "-h"),
}


def process(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "onnxq", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120", **environment},
    )


def kept(model: Path | onnx.ModelProto) -> dict[str, np.ndarray]:
    """The integers of every weight, by name: of two axes or more, before a DequantizeLinear, unpacked and shifted."""
    graph = (onnx.load(model) if isinstance(model, Path) else model).graph
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in held:
            held[node.output[0]] = held[node.input[0]].astype(np.int32)
        if node.op_type == "Sub" and held.keys() >= set(node.input):
            held[node.output[0]] = held[node.input[0]] - held[node.input[1]]
    read = [node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"]
    return {name: held[name].astype(np.int32) for name in read if name in held and held[name].ndim > 1}


def float_nodes(facts: Path) -> dict[str, str]:
    """Reasons by node, of the first backend."""
    entry = next(iter(json.loads(facts.read_text())["backends"].values()))
    return {line["subject"]: line["reason"] for line in entry["ledger"] if line["kind"] == "float"}


def test_a_shipped_card_by_name_and_by_path_is_the_same(command: Command, folder: Path) -> None:
    card = load_card(CARD)
    for number, given in enumerate((CARD, card.folder, card.folder / "card.yaml")):
        done = command("quantize", given, "--no-build", "--quiet", "-o", f"{number}.onnx")
        assert (done.returncode, done.stderr) == (0, "")
    first, *others = [(folder / f"{number}.onnx").read_bytes() for number in range(3)]
    assert others == [first, first]
    onnx.checker.check_model(onnx.load_from_string(first), full_check=True)


def test_a_card_is_built_judged_and_summed_up(folder: Path) -> None:
    done = process("quantize", CARD)
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / f"{CARD}.onnxruntime.onnx").is_file()
    assert re.search(r"layers in INT8 +23 of 23", done.stdout)
    assert re.search(r"^top1 FP32 +99\.\d", done.stdout, re.M)
    assert re.search(r"^top1 engine +9[89]\.\d", done.stdout, re.M)
    assert f"written   {CARD}.onnxruntime.onnx" in done.stdout


@pytest.mark.parametrize(
    ("out", "files"),
    [
        ("new/folder/", "new/folder/tiny.{}.onnx"),
        ("graphs", "graphs/tiny.{}.onnx"),
        ("of_{backend}/m.onnx", "of_{}/m.onnx"),
        (None, "tiny.{}.onnx"),
    ],
)
def test_several_backends_have_a_file_each(command: Command, folder: Path, out: str | None, files: str) -> None:
    chosen = [word for name in BACKENDS for word in ("--backend", name)]
    done = command(*TINY, *chosen, "--no-build", *(["-o", out] if out else []))
    assert done.returncode == 0, done.stderr
    written = {path.relative_to(folder) for path in folder.rglob("*.onnx")} - {Path("tiny.onnx")}
    assert written == {Path(files.format(name)) for name in BACKENDS}
    assert all("DequantizeLinear" in {node.op_type for node in onnx.load(path).graph.node} for path in written)


def test_a_backend_asked_for_twice_is_made_once(command: Command, folder: Path) -> None:
    done = command(*TINY, "-b", "openvino", "-b", "openvino", "--no-build", "-o", "one.onnx")
    assert (done.returncode, len(list(folder.glob("*.onnx")))) == (0, 2)


def test_the_facts_are_json(command: Command, folder: Path) -> None:
    done = command("quantize", CARD, "-b", "onnxruntime", "-b", "openvino", "-o", "out/", "--json", "facts.json")
    assert done.returncode == 0, done.stderr

    def refuse(word: str) -> object:
        raise AssertionError(f"{word} is not JSON")

    facts = json.loads((folder / "facts.json").read_text(), parse_constant=refuse)
    assert set(facts) == {"model", "data", "recipe", "versions", "seconds", "ablation", "backends"} | {
        *("format", "task", "smoke_test"),
    }
    assert (folder / "facts.json").stat().st_size < 5_000 * 2 * 23  # histograms too: of each layer of each backend
    assert facts["data"] == "calibration.npz, 256 samples"
    assert [next(iter(step)) for step in facts["recipe"]][-1] == "insert_qdq"
    assert facts["versions"]["onnxq"] == onnxq_version()
    assert set(facts["seconds"]) == {"prepare", "calibrate", "refine", "build", "judge"}
    assert all(isinstance(value, float) and value > 0 for value in facts["seconds"].values())
    for name in ("onnxruntime", "openvino"):
        check_backend(facts["backends"][name], folder / f"out/{CARD}.{name}.onnx")


def onnxq_version() -> str:
    from importlib.metadata import version

    return version("onnxq")


def check_backend(entry: Mapping[str, object], file: Path) -> None:
    """What the facts say of one backend is of the right types, and true where that is cheap to tell."""
    said = entry["file"]
    assert isinstance(said, str)
    assert Path(said).resolve() == file
    assert entry["problem"] is None
    assert entry["size_after"] == onnx.load(file).ByteSize()
    engine, accuracy = entry["engine"], entry["accuracy"]
    assert isinstance(engine, dict)
    assert isinstance(accuracy, dict)
    assert engine["reading"]["executed"] is True
    assert engine["nodes"] == len(engine["reading"]["layers"]) == 23
    assert {type(engine[key]) for key in ("int8_macs", "fp32_seconds", "seconds")} == {float}
    assert accuracy["samples"] == accuracy["scores"]["samples"] == 500
    assert {like["output"] for side in ("graph", "engine") for like in accuracy[side]} == {"logits"}
    assert accuracy["graph"][0]["sqnr_db"] > 25
    assert isinstance(entry["activations"], dict)
    known = {"grid", "scale", "zero_point", "low", "high", "takes_grid_of", "seen"}
    assert all(set(grid) == known for grid in entry["activations"].values())
    assert all(one["seen"]["counts"] for one in entry["activations"].values() if one["seen"] is not None)
    assert isinstance(entry["weights"], dict)
    assert {grid["bits"] for grid in entry["weights"].values()} == {8}
    assert len(entry["weights"]) == 23
    assert isinstance(entry["ledger"], list)
    assert all({"kind", "stage", "subject", "reason", "op_type", "detail"} >= set(line) for line in entry["ledger"])


@pytest.mark.parametrize(("suffix", "start"), [("html", "<!DOCTYPE html>"), ("svg", "<svg"), ("txt", "tiny.onnx")])
def test_a_report_is_a_page_a_picture_or_text(command: Command, folder: Path, suffix: str, start: str) -> None:
    done = command(*TINY, "--report", f"new/report.{suffix}", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = (folder / f"new/report.{suffix}").read_text()
    assert text.lstrip().startswith(start)
    plain = text.replace("&#160;", " ").replace("&nbsp;", " ")
    assert ("1 of 1 linear layers" if suffix == "html" else "layers in INT8") in plain
    assert "1 of 1" in plain
    assert ("\x1b" in text) is False


def test_quiet_prints_nothing(folder: Path) -> None:
    done = process(*TINY, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (folder / "tiny.onnxruntime.onnx").is_file()


def test_a_recipe_from_a_file(command: Command, folder: Path) -> None:
    recipe = """
backend: openvino
passes:
  - fold_constants
  - plan: {keep_float: [Conv]}
  - calibrate: {activations: minmax}
  - round_weights: {bits: 4, per_channel: false}
  - insert_qdq
"""
    (folder / "mine.yaml").write_text(recipe.replace("plan: {keep_float: [Conv]}", "plan"))
    done = command(*TINY, "--recipe", "mine.yaml", "--json", "facts.json", "--no-build")
    assert done.returncode == 0, done.stderr
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["recipe"][2] == {"calibrate": {"activations": "minmax", "percentile": None, "ranges": None}}
    (weight,) = facts["backends"]["openvino"]["weights"].values()
    assert (weight["grid"], weight["bits"], weight["solved"]["solver"]) == ("i4 asymmetric per tensor", 4, "nearest")
    (folder / "mine.yaml").write_text(recipe)
    done = command(*TINY, "--recipe", "mine.yaml")
    assert done.returncode == 2
    assert "Conv is kept in float on request" in done.stderr


def test_an_option_wins_over_the_recipe(command: Command, folder: Path) -> None:
    (folder / "mine.yaml").write_text("passes: [plan, {calibrate: {activations: minmax}}, round_weights, insert_qdq]")
    command(*TINY, "--recipe", "mine.yaml", "--calibrator", "percentile", "--json", "facts.json", "--no-build")
    recipe = json.loads((folder / "facts.json").read_text())["recipe"]
    assert recipe[1] == {"calibrate": {"activations": "percentile", "percentile": None, "ranges": None}}


def test_every_calibrator_gives_ranges_of_its_own(command: Command, folder: Path) -> None:
    scales = {}
    for name in CALIBRATORS:
        done = command("quantize", CARD, "--calibrator", name, "--no-build", "--json", f"{name}.json")
        assert done.returncode == 0, done.stderr
        grids = json.loads((folder / f"{name}.json").read_text())["backends"]["onnxruntime"]["activations"]
        scales[name] = {tensor: grid["scale"] for tensor, grid in grids.items()}
    assert all(scales["percentile"][tensor] <= scale * 1.0001 for tensor, scale in scales["minmax"].items())
    assert len({tuple(found.values()) for found in scales.values()}) == len(CALIBRATORS)


def test_samples_are_the_first(command: Command, folder: Path) -> None:
    images = np.load(folder / "data.npz")["x"]
    images[2:] *= 100
    np.savez(folder / "data.npz", x=images)
    (folder / "plain.yaml").write_text("passes: [plan, {calibrate: {activations: minmax}}, round_weights, insert_qdq]")
    for count in ("2", "3"):
        done = command(*TINY, "--samples", count, "--recipe", "plain.yaml", "--no-build", "--json", f"{count}.json")
        assert done.returncode == 0, done.stderr
    few, more = (json.loads((folder / f"{count}.json").read_text()) for count in "23")
    assert few["data"] == "data.npz, the first 2 of 8 samples"
    grids = [facts["backends"]["onnxruntime"]["activations"]["x"]["scale"] for facts in (few, more)]
    assert grids[1] > 20 * grids[0]
    span = float(images[:2].max() - images[:2].min())
    assert grids[0] == pytest.approx(span / 255, rel=1e-4)


def test_the_batch_does_not_change_the_graph(command: Command, folder: Path) -> None:
    for size in ("1", "3", "8"):
        assert command(*TINY, "--batch", size, "--no-build", "-o", f"{size}.onnx").returncode == 0
    assert len({(folder / f"{size}.onnx").read_bytes() for size in "138"}) == 1


def test_one_scale_a_weight_or_one_a_channel(command: Command, folder: Path) -> None:
    for option in ((), ("--per-tensor",)):
        command(*TINY, *option, "--no-build", "-o", "q.onnx", "--json", "facts.json")
        grid = json.loads((folder / "facts.json").read_text())["backends"]["onnxruntime"]["weights"]["w"]["grid"]
        held = {tensor.name: tensor for tensor in onnx.load(folder / "q.onnx").graph.initializer}
        assert list(held["w/scale"].dims) == ([] if option else [4])
        assert grid == ("i8 symmetric per tensor" if option else "i8 symmetric per channel (axis 0)")


def test_four_bits_are_sixteen_values_and_cost_accuracy(command: Command, folder: Path) -> None:
    asked = ("--weight-bits", 4, "--per-tensor", "--solver", "nearest")
    done = command("quantize", CARD, *asked, "-o", "q.onnx", "--json", "facts.json")
    assert done.returncode == 0, done.stderr
    weights = kept(folder / "q.onnx")
    assert len(weights) == 23
    assert max(len(np.unique(values)) for values in weights.values()) == 16
    assert max(int(np.abs(values.astype(int)).max()) for values in weights.values()) <= 15
    scores = json.loads((folder / "facts.json").read_text())["backends"]["onnxruntime"]["accuracy"]["scores"]
    assert scores["graph"] < scores["fp32"] - 5


@pytest.mark.parametrize(("asked", "found"), [("4", {4, 8}), ("4,first=8,last=8", {8}), ("16", {16})])
def test_activation_bits(command: Command, folder: Path, asked: str, found: set[int]) -> None:
    done = command(*TINY, "--activation-bits", asked, "--no-build", "-o", "q.onnx", "--json", "facts.json")
    assert done.returncode == 0, done.stderr
    entry = json.loads((folder / "facts.json").read_text())["backends"]["onnxruntime"]
    assert {int(grid["grid"].split()[0][1:]) for grid in entry["activations"].values()} == found
    assert ("simulated" in done.stdout) == (4 in found)
    assert ("layers that read them in float" in " ".join(done.stdout.split())) == (16 in found)


def most(values: np.ndarray) -> int:
    """How many integers lie between the lowest and the highest that a channel has, and both."""
    rows = values.reshape(len(values), -1).astype(int)
    return int((rows.max(axis=1) - rows.min(axis=1)).max()) + 1


def test_bits_by_layer_and_of_a_budget(command: Command, folder: Path) -> None:
    for text in ("4,first=8,last=8", "budget=4.5,first=8"):
        asked = ("--weight-bits", text, "-o", "q.onnx", "--no-build", "--json", "facts.json")
        done = command("quantize", CARD, *asked)
        assert done.returncode == 0, done.stderr
        weights = json.loads((folder / "facts.json").read_text())["backends"]["onnxruntime"]["weights"]
        bits = [entry["bits"] for entry in weights.values()]
        for values, wanted in zip(sorted(map(most, kept(folder / "q.onnx").values())), sorted(bits), strict=True):
            assert 2 ** (wanted - 1) < values <= 2**wanted
        why = [entry["solved"]["why"] for entry in weights.values()]
        if text.startswith("4"):
            assert sorted(bits) == [4] * 21 + [8, 8] and "2 × the bits" not in done.stdout
            assert sorted(why)[-2:] == ["fixed by 'first'", "fixed by 'last'"]
            continue
        assert "of a budget of 4.5 bits 4." in done.stdout.replace("\n", " ")
        assert len(set(bits)) > 3 and why.count("fixed by 'first'") == 1
        assert sum(reason.startswith("chosen by the budget, ") for reason in why) == 22


def test_what_stays_float_is_16_bit_where_the_engine_takes_it(command: Command, folder: Path) -> None:
    both = ("--backend", "tensorrt", "--backend", "openvino", "--no-build")
    done = command("quantize", CARD, *both, "--float", "fp16", "-o", "q.{backend}.onnx", "--json", "facts.json")
    assert done.returncode == 0, done.stderr
    stored = {
        name: {tensor.data_type for tensor in onnx.load(folder / f"q.{name}.onnx").graph.initializer}
        for name in ("tensorrt", "openvino")
    }
    assert onnx.TensorProto.FLOAT16 in stored["tensorrt"] and onnx.TensorProto.FLOAT16 not in stored["openvino"]
    ledger = json.loads((folder / "facts.json").read_text())["backends"]["openvino"]["ledger"]
    assert [entry["reason"] for entry in ledger if entry["stage"] == "cast_float"] == [
        "no FP16: OpenVINO itself chooses how to compute what stays float, by its INFERENCE_PRECISION_HINT"
    ]
    alone = command(*TINY, "--backend", "openvino", "--float", "bf16")
    assert (alone.returncode, alone.stdout) == (2, "")
    assert "no BF16 (--float): OpenVINO itself chooses" in alone.stderr


def test_weights_of_seven_bits_on_request(command: Command, folder: Path) -> None:
    for word, largest in (("--reduce-range", 63), ("--no-reduce-range", 127)):
        assert command(*TINY, word, "--no-build", "-o", "q.onnx").returncode == 0
        held = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(folder / "q.onnx").graph.initializer]
        assert max(int(np.abs(array.astype(int)).max()) for array in held if array.dtype == np.int8) == largest


def test_excluded_nodes_and_operators_stay_float(command: Command, folder: Path) -> None:
    options = ("--exclude", "^/layers/layers.0/", "--keep-float", "Gemm", "--no-build", "--json", "facts.json")
    done = command("quantize", CARD, "-o", "q.onnx", *options)
    assert done.returncode == 0, done.stderr
    reasons = float_nodes(folder / "facts.json")
    assert reasons["/layers/layers.0/Conv"] == "excluded by '^/layers/layers.0/'"
    (gemm,) = (node for node in onnx.load(load_card(CARD).model_path).graph.node if node.op_type == "Gemm")
    assert reasons[gemm.name] == "Gemm is kept in float on request"
    weights = kept(folder / "q.onnx")
    assert len(weights) == 21
    assert not any(name.startswith(("layers.0.weight", gemm.input[1])) for name in weights)


def test_a_wish_that_matches_nothing_is_told(command: Command) -> None:
    done = command(*TINY, "--exclude", "nowhere", "--keep-float", "Comv", "--no-build")
    assert done.returncode == 0
    assert "exclude 'nowhere' matches no node" in done.stdout
    assert "Did you mean 'Conv'?" in done.stdout


def test_no_build_makes_graphs_only(command: Command, folder: Path) -> None:
    done = command(*TINY, "--no-build", "--json", "facts.json")
    entry = json.loads((folder / "facts.json").read_text())["backends"]["onnxruntime"]
    assert (entry["engine"], entry["accuracy"], entry["problem"]) == (None, None, None)
    assert "not built" in done.stdout
    assert "INT8" not in done.stdout


def test_what_each_pass_brings_is_printed_and_told(command: Command, folder: Path) -> None:
    both = ("-b", "onnxruntime", "-b", "openvino", "--no-build")
    done = command(*TINY, *both, "--ablate", "--json", "facts.json", "--report", "report.txt")
    assert done.returncode == 0, done.stderr
    facts = json.loads((folder / "facts.json").read_text())
    names = [next(iter(step)) for step in facts["recipe"]]
    names = [name for name in names if name not in ("plan", "calibrate", "round_weights", "insert_qdq")]
    variants = facts["ablation"]["variants"]
    assert [row["without"] for row in variants] == [[], *([name] for name in names), names]
    assert facts["ablation"]["samples"] == 8
    assert all(set(row["backends"]) == {"onnxruntime", "openvino"} for row in variants)
    idle = [row for row in variants[1:-1] if row["without"][0].startswith("fold")]
    assert {row["backends"]["openvino"]["brought_db"] for row in idle} == {0}
    assert all(row["backends"]["openvino"]["same_graph"] for row in idle)
    for text in (done.stdout, (folder / "report.txt").read_text()):
        assert text.count("what each pass brings to the Q/DQ graph, on 8 samples") == 2
        assert len(re.findall(r"^  fold_batch_norm +[\d.]+ dB +same graph +\d+ +\d+\.\d *$", text, re.M)) == 2


def test_images_are_preprocessed(command: Command, folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 20, 30, 3), np.uint8)
    (folder / "photos").mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"photos/{number}.png")
    flat = ("--data", "photos", "--no-build", "--calibrator", "minmax", "--json", "facts.json")
    done = command("quantize", "tiny.onnx", *flat, "--preprocess", "{crop: 8, scale: 0.01}")
    assert done.returncode == 0, done.stderr
    top, left = 6, 11
    crops = pixels[:, top : top + 8, left : left + 8]
    grid = json.loads((folder / "facts.json").read_text())["backends"]["onnxruntime"]["activations"]["x"]
    assert grid["scale"] == pytest.approx(crops.max() / 100 / 255, rel=1e-4)
    assert command("quantize", "tiny.onnx", *flat).returncode == 2


def test_random_data_is_said_loudly(command: Command) -> None:
    done = command("quantize", "tiny.onnx", "--data", "random", "--no-build")
    assert done.returncode == 0
    assert "RANDOM NUMBERS" in done.stdout
    assert "RANDOM DATA: a smoke test. Its ranges, and so its accuracy, mean nothing." in done.stdout


def test_random_data_follows_its_seed(command: Command, folder: Path) -> None:
    for name, seed in (("a", 0), ("b", 1), ("c", 1)):
        command("quantize", "tiny.onnx", "--data", "random", "--seed", seed, "--no-build", "-o", f"{name}.onnx")
    a, b, c = ((folder / f"{name}.onnx").read_bytes() for name in "abc")
    assert a != b == c


def test_an_engine_that_refuses_ends_in_1_with_the_graph_written(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise onnxq.EngineError("onnxruntime: no, thank you")

    monkeypatch.setattr("onnxq.judge.build", refuse)
    done = command(*TINY, "--json", "facts.json")
    assert done.returncode == 1
    assert "no, thank you" in done.stdout
    entry = json.loads((folder / "facts.json").read_text())["backends"]["onnxruntime"]
    assert (entry["problem"], entry["engine"]) == ("onnxruntime: no, thank you", None)
    assert (folder / "tiny.onnxruntime.onnx").is_file()


def test_statistics_that_were_measured_before(command: Command, folder: Path) -> None:
    made = process("calibrate", "tiny.onnx", "--data", "data.npz", "-o", "s.npz")
    assert (made.returncode, made.stderr) == (0, "")
    assert command(*TINY, "--no-build").returncode == 0
    plain = (folder / "tiny.onnxruntime.onnx").read_bytes()
    assert command(*TINY, "--no-build", "--statistics", "s.npz").returncode == 0
    assert (folder / "tiny.onnxruntime.onnx").read_bytes() == plain
    stale = command(*TINY, "--no-build", "--statistics", "s.npz", "--seed", "1", "--data", "random")
    assert stale.returncode == 2
    assert "s.npz: sample 1 is none of the" in stale.stderr


def test_a_cluster_makes_the_same_file(command: Command, folder: Path) -> None:
    assert command(*TINY, "--no-build", "-o", "one.onnx").returncode == 0
    with LocalCluster(n_workers=1, processes=False, protocol="tcp://", dashboard_address=":0") as cluster:
        done = command(*TINY, "--no-build", "--cluster", cluster.scheduler_address, "-o", "two.onnx")
    assert done.returncode == 0, done.stderr
    assert (folder / "one.onnx").read_bytes() == (folder / "two.onnx").read_bytes()


def test_an_interrupt_is_no_traceback(command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("onnxq.judge.build", interrupt)
    done = command(*TINY)
    assert (done.returncode, done.stderr) == (130, "onnxq: interrupted; nothing half-written was left.\n")
    assert sorted(path.name for path in folder.iterdir()) == ["data.npz", "tiny.onnx"]


def test_help_shows_examples_and_every_option() -> None:
    done = process("quantize", "--help")
    assert done.returncode == 0
    assert done.stdout.count("onnxq quantize ") >= 4
    words = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", done.stdout))
    assert words >= OPTIONS
    assert "Quantize ONNX models" in process("--help").stdout


def test_every_option_has_a_test_here() -> None:
    import typer.main

    from onnxq.cli.main import app

    command = typer.main.get_command(app).commands["quantize"]  # type: ignore[attr-defined]
    found = {word for option in command.params for word in (*option.opts, *option.secondary_opts) if word[0] == "-"}
    assert found | {"--help", "-h"} == OPTIONS


def test_version() -> None:
    done = process("--version")
    assert (done.returncode, done.stdout) == (0, f"onnxq {onnxq_version()}\n")


COST = """
import resource, subprocess, sys
before = resource.getrusage(resource.RUSAGE_CHILDREN)
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
after = resource.getrusage(resource.RUSAGE_CHILDREN)
print(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
"""


@pytest.mark.parametrize("arguments", [("-c", "import onnxq"), ("-m", "onnxq", "--help")], ids=["import", "help"])
def test_starting_takes_less_than_half_a_second(arguments: tuple[str, ...]) -> None:
    def cost() -> float:
        words = [sys.executable, "-c", COST, sys.executable, *arguments]
        return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)

    assert min(cost() for _ in range(6)) < 0.5


@pytest.mark.parametrize("code", ["import onnxq", "import onnxq.cli.main"])
def test_starting_loads_nothing_heavy(code: str) -> None:
    heavy = ["numpy", "onnx", "onnxruntime", "onnx_graphsurgeon", "polygraphy", "openvino", "pydantic", "PIL"]
    asked = f"{code}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("onnxq quantize m.onnx --backend ", {*BACKENDS, "portable", *TARGETS}),
        ("onnxq quantize m.onnx --backend op", {"openvino"}),
        ("onnxq quantize m.onnx --calibrator ", set(CALIBRATORS)),
        ("onnxq quan", {"quantize"}),
    ],
)
def test_the_shell_completes(typed: str, offered: set[str]) -> None:
    count = len(typed.split()) - (not typed.endswith(" "))
    script = Path(sys.executable).with_name("onnxq")
    environment = {"_ONNXQ_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(count)}
    done = subprocess.run([script], capture_output=True, text=True, env={**os.environ, **environment})
    assert set(done.stdout.split()) == offered


def test_the_names_offered_are_those_there_are() -> None:
    from onnxq import backends
    from onnxq.cli import options, outputs, quantize

    assert [*backends.BACKENDS, *TARGETS] == outputs.backend_choices()
    assert set(quantize._calibrators()) == set(CALIBRATORS)
    assert {name for name in CALIBRATORS if re.search(rf"\b{name}\b", options.CALIBRATORS)} == set(CALIBRATORS)


def test_progress_is_drawn_on_a_terminal_only(folder: Path) -> None:
    for environment in ({}, {"FORCE_COLOR": "1"}):
        assert process(*TINY, **environment).stderr == ""
    drawn = terminal(sys.executable, "-m", "onnxq", *TINY)
    assert "calibrate" in drawn
    assert "8/8" in drawn


def test_progress_names_the_variant_also_in_a_small_window(folder: Path) -> None:
    drawn = terminal(sys.executable, "-m", "onnxq", *TINY, "--no-build", "--ablate", LINES="6")
    assert "without any of them" in drawn
    assert max(frame.count("\n") for frame in drawn.split("\x1b[2K")) < 6


def terminal(*words: str, **environment: str) -> str:
    """What the command writes to a stderr that is a terminal."""
    ours, theirs = pty.openpty()
    there = {**os.environ, "TERM": "xterm", **environment}
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=theirs, env=there):
        os.close(theirs)
        parts = []
        while part := _read(ours):
            parts.append(part)
    os.close(ours)
    return b"".join(parts).decode()


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except OSError:  # how Linux says that the other side is closed
        return b""


def test_python_gives_the_graph_that_the_command_gives(command: Command, folder: Path) -> None:
    assert command(*TINY, "-b", "openvino", "--no-build", "-o", "command.onnx").returncode == 0
    written = (folder / "command.onnx").read_bytes()
    options = onnxq.Options(build=False)
    loaded = onnx.load(folder / "tiny.onnx")
    for model in (folder / "tiny.onnx", "tiny.onnx", loaded):
        for samples in ("data.npz", dict(np.load(folder / "data.npz"))):
            made = onnxq.quantize(model, samples, backend="openvino", options=options)
            assert made.quantized.SerializeToString(deterministic=True) == written
    made = onnxq.quantize(gs.import_onnx(loaded), "data.npz", backend="openvino", options=options)
    again = onnx.load_from_string(written)
    assert made.quantized.graph.SerializeToString(deterministic=True) == again.graph.SerializeToString(
        deterministic=True
    )
    assert made.save("api.onnx") == {"openvino": Path("api.onnx")}


def test_a_card_of_the_user_s_own(command: Command, folder: Path) -> None:
    shutil.copytree(load_card(CARD).folder, folder / "mine")
    text = (folder / "mine/card.yaml").read_text()
    (folder / "mine/recipe.yaml").write_text("passes: [fold_constants, plan, calibrate, round_weights, insert_qdq]")
    (folder / "mine/card.yaml").write_text(text.replace("recipe: default", "recipe: recipe.yaml"))
    done = command("quantize", "mine", "--json", "facts.json", "--no-build")
    assert done.returncode == 0, done.stderr
    assert [*map(list, json.loads((folder / "facts.json").read_text())["recipe"])][1] == ["plan"]


def test_what_a_target_takes_is_written_beside_the_float_model(command: Command, folder: Path) -> None:
    done = command(*TINY, "--backend", "snpe", "--out", "out/m.onnx", "--json", "facts.json")
    assert done.returncode == 0 and "simulated, not built" in done.stdout
    names = ["m.onnx", "m.encodings.json", "m.simulated.onnx"]
    assert sorted(path.name for path in (folder / "out").iterdir()) == sorted(names)
    entry = json.loads((folder / "facts.json").read_text())["backends"]["snpe"]
    assert [Path(file).name for file in entry["files"]] == names
    assert entry["simulated"] is True and entry["engine"] is None
    assert entry["accuracy"]["graph"] and not entry["accuracy"]["engine"]
    assert not kept(folder / "out/m.onnx") and kept(folder / "out/m.simulated.onnx")


def test_a_file_beside_the_float_model_is_checked_before_the_work(command: Command, folder: Path) -> None:
    (folder / "m.simulated.onnx").mkdir()
    taken = command(*TINY, "--backend", "snpe", "--out", "m.onnx")
    assert taken.returncode == 2 and "m.simulated.onnx: is a folder" in taken.stderr
    twice = command(*TINY, "--backend", "snpe", "--out", "n.onnx", "--json", "n.encodings.json")
    assert twice.returncode == 2 and "n.encodings.json: is read or written already" in twice.stderr
    assert not list(folder.glob("n.*"))


def test_ranges_go_out_and_come_back(command: Command, folder: Path) -> None:
    wanted = ("quantize", "tiny.onnx", "--data", "data.npz", "--no-build", "-b", "tensorrt")
    assert command(*wanted, "--ranges-out", "r.cache").returncode == 0
    assert (folder / "r.cache").read_text().startswith("TRT-")
    before = onnx.load(folder / "tiny.tensorrt.onnx").graph  # the model also tells that ranges were given
    assert command(*wanted, "--ranges", "r.cache").returncode == 0
    assert onnx.load(folder / "tiny.tensorrt.onnx").graph == before
    several = command(*wanted, "-b", "openvino", "--ranges-out", "{backend}.json")
    assert several.returncode == 0 and (folder / "openvino.json").exists() and (folder / "tensorrt.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--ranges-out", "r.txt"), "ranges are written as .cache (TensorRT's) or .json"),
        (("--ranges-out", "r.json", "-b", "openvino"), "Put {backend} into the name (--ranges-out)"),
        (("--ranges", "data.npz"), "data.npz: is not text"),
        (("--ranges", "no.cache"), "no.cache: no such file"),
    ],
)
def test_ranges_that_cannot_be_are_refused(command: Command, words: tuple[str, ...], said: str) -> None:
    done = command("quantize", "tiny.onnx", "--data", "data.npz", "--no-build", "-b", "tensorrt", *words)
    assert done.returncode == 2 and said in done.stderr
