"""What is printed of an evaluation."""

import io
import math

from rich.console import Console

from onnxq.backends.engine import Layer, Reading
from onnxq.evaluating.evaluate import Evaluated, Row, Value
from onnxq.evaluating.page import page

READING = Reading("Engine 1", (Layer("a", "Conv", "int8"), Layer("b", "Conv", "fp32")), 0)


def values(top1: float | None, lost: float | None, sqnr: float | None) -> tuple[Value, ...]:
    return Value("top1", "%", False, top1, lost), Value("sqnr", "dB", True, sqnr, None)


def lines(*rows: Row) -> list[str]:
    console = Console(file=io.StringIO(), width=80)
    console.print(page(Evaluated("test.npz, 9 samples", 4, rows)))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_rows() -> None:
    text = lines(
        Row("x/m.onnx", "simulation", False, False, None, values(80, 0, math.inf), 9, 0.1, None),
        Row("x/q.onnx", "simulation", True, False, None, values(79.5, 0.5, math.inf), 9, 0.1, None),
        Row("x/q.onnx", "engine", True, True, READING, values(79, 1, 30.123), 9, 0.25, None),
        Row("x/q.onnx", "other", True, True, None, values(None, None, None), 0, 0, "it is refused"),
    )
    assert text[0] == "test.npz, 9 samples; 9 measured, batch 4"
    assert text[2].split() == ["model", "engine", "INT8", "top1", "%", "lost", "sqnr", "dB", "seconds"]
    assert [line.split() for line in text[3:7]] == [
        ["m.onnx", "simulation", "80.00", "ref", "0.10"],
        ["q.onnx", "simulation", "Q/DQ", "79.50", "0.50", "equal", "0.10"],
        ["q.onnx", "engine", "1", "of", "2", "79.00", "1.00", "30.12", "0.25"],
        ["q.onnx", "other", "failed", "failed", "0.00"],
    ]
    assert text[8] == "deployed: Engine 1" and text[9].startswith("simulation: not deployed")
    assert text[-1] == "FAILED: x/q.onnx on other: it is refused"


def test_models_of_one_name_keep_their_folders_and_what_is_not_known_is_said() -> None:
    text = lines(
        Row("x/m.onnx", "engine", False, True, None, values(None, None, None), 0, 0, "refused"),
        Row("y/m.onnx", "engine", False, True, READING, values(79, None, None), 9, 0, None),
    )
    assert [line.split()[0] for line in text[3:5]] == ["x/m.onnx", "y/m.onnx"]
    assert text[4].split()[-3:] == ["79.00", "unknown", "0.00"]
