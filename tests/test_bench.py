"""The benchmark measures what it says: its nets have the work of their models, and every part prints its rows."""

import importlib
import runpy
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from corpus import CORPUS, path_of
from net import Net
from onnxq.cost import macs
from shapes import SHAPES
from subjects import Subject, random_subject
from table import table

if TYPE_CHECKING:
    from figures import Figures

PARTS = runpy.run_path(str(Path(__file__).with_name("bench") / "__main__.py"))["PARTS"]
corpus = pytest.mark.skipif(not CORPUS, reason="set ONNXQ_CORPUS to a folder of real models to measure them")


@pytest.fixture(scope="module")
def tiny() -> Subject:
    """Two convolutions and a classifier."""
    net = Net("tiny")
    x = net.op("Relu", net.norm(net.conv("input", (3, 16, 3), stride=2), 16))
    x = net.relu6(net.norm(net.conv(x, (16, 16, 3)), 16))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return random_subject("tiny", net.model(net.linear(x, 16, 10), (3, 16, 16), 10))


# Giga multiply-accumulates, as torchvision's documentation gives them for its models of these names.
@pytest.mark.parametrize(
    ("name", "giga"), [("resnet50", 4.09), ("resnet18", 1.81), ("mobilenetv2", 0.30), ("mobilenetv3", 0.217)]
)
def test_nets_have_the_work_of_their_models(name: str, giga: float) -> None:
    model = SHAPES[name]()
    assert sum(macs(model, {"input": (1, 3, 224, 224)}).values()) == pytest.approx(giga * 1e9, rel=0.02)
    assert any(node.op_type == "BatchNormalization" for node in model.graph.node)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_activations_neither_grow_nor_vanish() -> None:
    from onnxq.execute import Session, returning

    model = SHAPES["mobilenetv2"]()
    convolved = [node.output[0] for node in model.graph.node if node.op_type == "Conv"]
    image = random_subject("mobilenetv2", model).feeds(1)
    found = Session(returning(model, convolved)).run(image).values()
    sizes = [float(array.astype(np.float32).std()) for array in found]
    assert min(sizes) > 0.05
    assert max(sizes) < 50


def test_the_share_is_of_what_was_read_back(tiny: Subject) -> None:
    from int8_share import COLUMNS, DOORS, shares

    rows = list(shares([tiny]))
    assert [row[1] for row in rows] == list(DOORS)
    for row in rows:
        cells = dict(zip(COLUMNS, row, strict=True))
        assert cells["MACs %"] == 100
        assert cells["layers"] == "3/3"
        assert cells["verdict"] == "ok"


@pytest.mark.filterwarnings("ignore")  # of the peer's quantizer
def test_graphs_are_timed_beside_those_of_peers(tiny: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    import quantizers
    from engine_speed import BATCHES, COLUMNS, DOORS, speeds

    monkeypatch.setattr(quantizers, "PYTHONS", (sys.executable,))
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in speeds([tiny], seconds=0)]
    assert [(row["engine"], row["batch"]) for row in rows] == [(door, batch) for door in DOORS for batch in BATCHES]
    for row in rows:
        ratios = [row[name] for name in ("onnxq", "ort U8S8", "ort S8S8")]
        assert all(isinstance(ratio, float) and ratio > 0 for ratio in ratios)
        assert row["nncf perf"] == "-"


@pytest.mark.parametrize(
    ("name", "times", "said"),
    [
        ("resnet18", {"FP32": (4, 8), "onnxq": (2, 4), "ort U8S8": (1.96, 3.92)}, "ok"),
        ("resnet18", {"FP32": (4, 8), "onnxq": (2, 4), "ort U8S8": (1.6, 3.2)}, "MISSED: 1.25 x ort U8S8"),
        ("resnet18", {"FP32": (1, 2), "onnxq": (2, 4), "ort U8S8": (4, 8)}, "MISSED: 2.00 x FP32"),
        ("mobilenetv2", {"FP32": (4, 8), "onnxq": (2, 4), "ort U8S8": (2, 4)}, "MISSED: not faster than ort U8S8"),
        ("resnet18", {"FP32": (1, 1), "ort U8S8": (1, 1)}, "REFUSED"),
    ],
)
def test_verdicts_on_speed(name: str, times: dict[str, tuple[float, ...]], said: str) -> None:
    from engine_speed import verdict

    assert verdict(name, times) == said


@corpus
def test_any_model_has_a_row_of_engines() -> None:
    from robust import COLUMNS, robustness

    (row,) = (dict(zip(COLUMNS, row, strict=True)) for row in robustness(["espcn_subpixel_float"]))
    assert row["verdict"] == "ok"
    assert str(row["onnxruntime"]).startswith("4/4 ")
    assert row["tensorrt"] == "4/4"


@corpus
def test_an_engine_is_judged_beside_its_simulation() -> None:
    from engine_accuracy import BATCHES, COLUMNS, accuracies

    rows = [dict(zip(COLUMNS, row, strict=True)) for row in accuracies(["kws_dscnn"])]
    assert [row["batch"] for row in rows] == list(BATCHES)
    assert {row["FP32 %"] for row in rows} == {92.0}


@corpus
def test_what_is_deployed_is_evaluated_beside_the_simulation() -> None:
    from deployed import BATCHES, COLUMNS, rows

    found = [dict(zip(COLUMNS, row, strict=True)) for row in rows(["kws_dscnn"])]
    assert [(row["batch"], row["images"], row["FP32 %"]) for row in found] == [(batch, 400, 92.0) for batch in BATCHES]
    assert {row["verdict"] for row in found} == {"ok"}


def test_an_engine_may_lose_a_fifth_of_a_point_more() -> None:
    from deployed import Deployed

    assert not Deployed(5000, 81.0, 81.28, 81.08).missed
    assert Deployed(5000, 81.0, 81.28, 81.06).missed
    assert Deployed(5000, 81.0, 81.0, 81.5).difference == -0.5


@corpus
def test_a_broken_layer_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import diagnosis

    monkeypatch.setattr(diagnosis, "BUDGET", 30.0)
    (row,) = (dict(zip(diagnosis.COLUMNS, row, strict=True)) for row in diagnosis.rows({"kws_dscnn": [2]}))
    assert (row["FP32"], row["rank"]) == (92.0, 1)  # of 400 images two are half a point
    assert isinstance(row["broken"], float) and isinstance(row["mended"], float) and row["broken"] < row["mended"] - 5
    assert "per_channel" in str(row["layer, and what helps"])


def test_verdicts_on_a_diagnosis() -> None:
    from diagnosis import LAYERS, asked, verdict

    assert verdict(1, 0.3) == "ok"
    assert verdict(3, 0.31) == "MISSED: named 3., 0.31 points lost"
    assert asked(["resnet20:3,7", "yolox_nano"]) == {"resnet20": [3, 7], "yolox_nano": LAYERS["yolox_nano"]}


class Sleeper:
    """What ``stopwatch`` is to time."""

    def outer(self) -> None:
        time.sleep(0.01)
        self.inner()

    def inner(self) -> None:
        time.sleep(0.1)


def test_time_goes_to_the_label_of_what_is_called() -> None:
    from stopwatch import stopwatch

    targets = [(Sleeper, "outer", "outer"), (Sleeper, "inner", "inner")]
    with stopwatch(targets) as seconds:
        Sleeper().outer()
    assert 0.01 < seconds["outer"] < seconds["inner"] > 0.1
    with stopwatch(targets, whole="outer") as seconds:
        Sleeper().outer()
    assert set(seconds) == {"outer"}
    assert seconds["outer"] > 0.11
    before = dict(seconds)
    Sleeper().inner()
    assert seconds == before


@pytest.mark.parametrize(
    ("folds", "every", "percent", "said"),
    [
        (90, 70, 14.9, "ok"),
        (89.9, 120, 3, "MISSED: folds 89.9 dB"),
        (100, 69.9, 3, "MISSED: rewrites 69.9 dB"),
        (100, 100, 15, "MISSED: proof 15 %"),
    ],
)
def test_verdicts_on_rewrites(folds: float, every: float, percent: float, said: str) -> None:
    from rewrites import verdict

    assert verdict({"folds": folds, "rewrites": every}, percent) == said


def figure(lost: float, sqnr_db: float) -> "Figures":
    from figures import Figures

    return Figures(90 - lost, lost, sqnr_db)


@pytest.mark.parametrize(
    ("name", "per_tensor", "per_channel", "twin", "bare", "said"),
    [
        ("resnet20_spread", (0.5, 27), (9, 9), (0, 28), None, "ok"),
        ("resnet20_spread", (0.51, 27), (0, 30), (0, 28), None, "MISSED: 0.51 points per tensor"),
        ("kws_dscnn_spread", (0.5, 26.9), (0, 30), (0, 28), None, "MISSED: 1.10 dB behind its twin"),
        ("mobilenetv2_cifar10", (0.3, 9), (0.2, 30), None, None, "ok"),
        ("mobilenetv2_cifar10", (0.3, 9), (0.21, 30), None, None, "MISSED: 0.21 points per channel"),
        ("kws_dscnn", (0.5, 28), (0, 31), None, None, "MISSED: 0.50 points per tensor"),
        ("resnet20", (9, 29.3), (0, 30), None, (0, 29.2), "ok"),
        ("resnet20", (0, 29.2), (0, 30), None, (0, 29.1), "MISSED: 0.80 dB behind per channel"),
        ("resnet20", (0, 29.5), (0, 30), None, (0, 29.5), "MISSED: the rewrites bring 0.00 dB"),
    ],
)
def test_verdicts_on_one_scale_per_weight(
    name: str,
    per_tensor: tuple[float, float],
    per_channel: tuple[float, float],
    twin: tuple[float, float] | None,
    bare: tuple[float, float] | None,
    said: str,
) -> None:
    from per_tensor import Case, verdict

    others = [None if found is None else figure(*found) for found in (twin, bare)]
    assert verdict(Case(name, figure(*per_tensor), figure(*per_channel), *others)) == said


@pytest.mark.parametrize(
    ("name", "balanced", "without", "in_float", "said"),
    [
        ("yolox_nano", (0.4, 11), (7, 8), 0, "ok"),
        ("yolox_nano", (0.41, 11), (7, 8), 2, "MISSED: 0.41 points lost, 2 Conv in float"),
        ("vit_cifar10", (0.3, 35), (0, 35), 1, "MISSED: brings 0.00 dB"),
    ],
)
def test_verdicts_on_balance(
    name: str, balanced: tuple[float, float], without: tuple[float, float], in_float: int, said: str
) -> None:
    from balance import verdict

    assert verdict(name, figure(*balanced), figure(*without), in_float) == said


def test_the_cost_of_the_proof_is_measured_in_a_run(tiny: Subject) -> None:
    from rewrites import proof_seconds

    seconds = proof_seconds(tiny.model, dict(tiny.samples))
    assert all(seconds[label] > 0 for label in ("proof", "passes", "calibrate"))
    assert seconds["proof"] < 1


@corpus
def test_rewrites_are_judged_on_the_corpus() -> None:
    from rewrites import COLUMNS, rewrites

    (row,) = (dict(zip(COLUMNS, row, strict=True)) for row in rewrites(["kws_dscnn"]))
    assert (row["nodes"], row["after"], row["undone"]) == (31, 22, 0)
    assert isinstance(row["folds dB"], float) and row["folds dB"] > 90


@corpus
def test_one_scale_per_weight_is_judged_on_every_backend() -> None:
    from command import BACKENDS
    from per_tensor import COLUMNS, rows

    found = [dict(zip(COLUMNS, row, strict=True)) for row in rows(["kws_dscnn_spread"])]
    assert [row["backend"] for row in found] == list(BACKENDS)
    assert {row["FP32 %"] for row in found} == {92.0}
    assert all(str(row["verdict"]).startswith(("ok", "MISSED")) for row in found)


@corpus
def test_what_passes_bring_is_judged_by_the_metric_of_the_task() -> None:
    from what_passes_bring import COLUMNS, rows, test_data

    found = [dict(zip(COLUMNS, row, strict=True)) for row in rows(["kws_dscnn"])]
    folds = next(r for r in found if (r["backend"], r["left out"]) == ("onnxruntime", "fold_batch_norm"))
    assert isinstance(folds["brings dB"], float) and folds["brings dB"] > 5
    samples, metric = test_data("yolox_nano")
    assert metric.name == "box_ap" and samples["images"].shape == (88, 3, 416, 416)


@corpus
def test_the_float_model_is_like_itself() -> None:
    from figures import figures

    found = figures("kws_dscnn", onnx.load(path_of("kws_dscnn")))
    assert (found.score, found.lost, found.sqnr_db) == (92.0, 0, np.inf)


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_a_command(part: str) -> None:
    """Imported as if it were run: what it needs is there, and it has a main guard."""
    module = importlib.import_module(part)
    assert module.__doc__
    assert "python tests/bench/" in module.__doc__
    assert 'if __name__ == "__main__":' in Path(str(module.__file__)).read_text()


def test_tables_are_printed_row_by_row(capsys: pytest.CaptureFixture[str]) -> None:
    table("Title", ("name", "x"), [["a", 1.234]])
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        [],
        ["Title"],
        ["name", "x"],
        ["a", "1.23"],
    ]
