"""The benchmark beside peers: every quantizer runs in a process of its own, says no in a cell, and is judged alike."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.parser import parse_model

import quantizers
from corpus import CORPUS
from end_layers import end_weights
from figures import Figures
from net import Net
from quantizers import PeerError, Quantizer, Task, installed, running, say_missing
from subjects import random_subject

corpus = pytest.mark.skipif(not CORPUS, reason="set ONNXQ_CORPUS to a folder of real models to measure them")


@pytest.fixture
def task(tmp_path: Path) -> Iterator[Task]:
    """A convolution, and 8 samples of it."""
    net = Net("tiny")
    x = net.op("Flatten", net.op("GlobalAveragePool", net.op("Relu", net.conv("input", (3, 16, 3)))))
    subject = random_subject("tiny", net.model(net.linear(x, 16, 10), (3, 8, 8), 10))
    onnx.save(subject.model, tmp_path / "tiny.onnx")
    np.savez(tmp_path / "tiny.npz", input=subject.samples["input"])
    yield Task(tmp_path / "tiny.onnx", tmp_path / "tiny.npz", True)


@pytest.mark.parametrize("package", ["onnxq", "onnxruntime"])
def test_a_quantizer_stays_alive_for_several_calls(package: str, task: Task, tmp_path: Path) -> None:
    with running(Quantizer(package, package)) as quantize:
        calls = [quantize(task, tmp_path / f"{index}.onnx", count) for index, count in enumerate((2, None))]
    assert all(0 < call.seconds < 60 and 0 <= call.mb < 2000 for call in calls)
    for index in range(2):
        nodes = [node.op_type for node in onnx.load(tmp_path / f"{index}.onnx").graph.node]
        assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= set(nodes)


def test_what_a_quantizer_refuses_is_said_and_the_next_call_works(task: Task, tmp_path: Path) -> None:
    with running(Quantizer("onnxq", "onnxq", {"weight_bits": 4})) as quantize:
        with pytest.raises(PeerError, match=r"no\.onnx"):
            quantize(Task(tmp_path / "no.onnx", task.samples, True), tmp_path / "out.onnx")
        assert quantize(task, tmp_path / "out.onnx").seconds > 0


def test_a_quantizer_that_takes_too_long_is_ended(task: Task, tmp_path: Path) -> None:
    with (
        running(Quantizer("onnxruntime", "onnxruntime")) as quantize,
        pytest.raises(PeerError, match="more than 0 s"),
    ):
        quantize(task, tmp_path / "out.onnx", limit=0.0)


def test_what_no_python_has_is_left_out_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quantizers, "PYTHONS", (sys.executable,))
    asked = [Quantizer("a", "onnxruntime"), Quantizer("b", "no_such_peer"), Quantizer("c", "no_such_peer")]
    assert [one.label for one in installed(asked)] == ["a"]
    say_missing(asked)
    assert capsys.readouterr().out == "Left out: no_such_peer. No Python that ONNXQ_PEERS names has it.\n"
    monkeypatch.setattr(quantizers, "PYTHONS", ("/no/such/python",))
    with pytest.raises(SystemExit, match="/no/such/python is not a Python"):
        installed(asked)


def test_the_layers_at_the_ends_are_those_without_layers_before_or_behind() -> None:
    graph = parse_model("""<ir_version: 8, opset_import: ["": 17]>
    ends (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y, float[1, 2, 4, 4] z)
    <float[2, 2, 1, 1] a = {1, 0, 0, 1}, float[2, 2, 1, 1] b = {1, 0, 0, 1},
     float[2, 2, 1, 1] c = {1, 0, 0, 1}, float[2, 2, 1, 1] d = {1, 0, 0, 1}>
    {
        s = Relu(x)
        t = Conv(s, a)
        u = Sigmoid(t)
        v = Conv(u, b)
        w = Mul(u, v)
        y = Conv(w, c)
        o = Conv(v, d)
        z = Relu(o)
    }""").graph
    assert end_weights(graph) == ["a", "c", "d"]


@pytest.mark.parametrize(
    ("package", "default", "plain", "said"),
    [
        ("nncf", 3.0, 5.0, "ok"),
        ("nncf", 2.9, 3.1, "ok for the plain recipe"),
        ("aimet_onnx", 2.9, 2.9, "MISSED: wanted 3"),
        ("onnxsim", 1.0, 1.5, "ok"),
        ("onnxsim", 0.5, 0.9, "MISSED: wanted 1"),
    ],
)
def test_verdicts_on_whole_calls(package: str, default: float, plain: float, said: str) -> None:
    from against_peers import verdict

    assert verdict(package, {"onnxq": default, "onnxq, plain recipe": plain}) == said


@pytest.mark.parametrize(
    ("peer", "found", "ratio", "said"),
    [
        ("aimet, adaround 500", Figures(80.0, 1.0, 17.0), 20.0, "ok"),
        ("aimet, adaround 500", Figures(80.0, 1.0, 17.0), 19.9, "MISSED: 19.9 times as fast"),
        ("onnxsim, gptq", Figures(80.0, 1.0, 17.0), 0.5, "ok"),
        ("onnxsim, gptq", Figures(80.5, 0.5, 20.0), 9.0, "MISSED: 2.00 dB behind, 0.30 points behind"),
    ],
)
def test_verdicts_on_few_bits(peer: str, found: Figures, ratio: float, said: str) -> None:
    from low_bits import verdict

    assert verdict(peer, Figures(80.2, 0.8, 18.0), found, ratio) == said


@corpus
@pytest.mark.filterwarnings("ignore")  # of onnxruntime's quantizer
def test_a_race_has_a_row_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    import against_peers

    peers = {"minmax": (Quantizer("onnxruntime", "onnxruntime"), Quantizer("never", "onnxruntime", {"no": 1}))}
    for name, value in {"PEERS": peers, "SECONDS": 0.0, "LEAST_ROUNDS": 1}.items():
        monkeypatch.setattr(against_peers, name, value)
    found = [dict(zip(against_peers.COLUMNS, row, strict=True)) for row in against_peers.rows("kws_dscnn")]
    assert [row["quantizer"] for row in found] == ["onnxq", "onnxq, plain recipe", "onnxruntime", "never"]
    assert found[0]["/ onnxq"] == found[1]["/ plain"] == 1
    assert all(isinstance(row["lost"], float) and row["lost"] < 2 for row in found[:3])
    assert str(found[3]["verdict"]).startswith("REFUSED: TypeError")


@corpus
def test_few_bits_have_a_row(tmp_path: Path) -> None:
    from low_bits import COLUMNS, Case, rows

    (row,) = (dict(zip(COLUMNS, row, strict=True)) for row in rows(Case("kws_dscnn", 4, 99.0), None, alone=True))
    assert (row["FP32"], row["verdict"]) == (92.0, "ok")
    assert isinstance(row["agree %"], float) and row["agree %"] > 90
