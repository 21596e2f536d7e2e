"""The cards at the head of the page."""

from dataclasses import replace

from onnxq.answers import Likeness
from onnxq.backends.engine import Layer, Reading
from onnxq.build import Built
from onnxq.html.headline import headline
from onnxq.html.told import Told, ToldBackend
from onnxq.result import Judged, Scores

BUILT = Built(Reading("engine 1.0", (), 2), 4, 3, 0.9, 2e-3, 1e-3)
JUDGED = Judged(10, (Likeness("y", 30.0, 1.0, 0.1, 99.0),), (), Scores("top1", "%", 10, 70.0, 69.9, 68.5))
ENTRY = ToldBackend("Engine", 4_000_000, 1_000_000, (), engine=BUILT, accuracy=JUDGED)


def told(entry: ToldBackend) -> Told:
    return Told("folder/model.onnx", "d.npz", {"e": entry})


def test_the_card_has_accuracy_speed_size_and_integers() -> None:
    text = headline(told(ENTRY))
    for said in ("68.50 %", "FP32 70.00 % (-1.50)", "2.00×", "25 %", "4.00 MB → 1.00 MB", "90.0 %", "30.0 dB"):
        assert said in text
    assert "<h1>model.onnx</h1>" in text and '<strong class="warn">68.50' in text


def test_an_engine_that_refused_and_one_that_is_none() -> None:
    text = headline(told(replace(ENTRY, engine=None, accuracy=None, problem="no kernel")))
    assert "no kernel" in text and "not built" in text and "speed" not in text
    assert "simulated by onnxruntime" in headline(told(replace(ENTRY, engine=None, simulated=True)))


def test_layers_in_other_numbers_are_counted() -> None:
    layers = (Layer("a", "Conv", "fp8"), Layer("b", "Conv", "fp32"), Layer("c", "Conv", "int4 weights"))
    for kept, said in ((layers[:2], "1 of 2</strong>"), (layers[1:], "weights of linear layers that compute in float")):
        built = replace(BUILT, reading=Reading("e", kept, 0), nodes=2, int8_nodes=0, int8_macs=0.0)
        assert said in headline(told(replace(ENTRY, engine=built)))
    fp8 = replace(BUILT, reading=Reading("e", layers[:2], 0), nodes=2, int8_nodes=0, int8_macs=0.0)
    assert "in INT8" not in headline(told(replace(ENTRY, engine=fp8)))


def test_random_data_is_said_loudly() -> None:
    assert "smoke test" in headline(replace(told(ENTRY), smoke_test=True))
