"""The page: short by default, whole on request, with the layers that one grid would cost dear."""

import io

import numpy as np
import onnx
import pytest
from rich.console import Console

from onnxq.inspection.inspect import inspect
from onnxq.inspection.page import page
from onnxq.ledger import Entry
from onnxq.testing import normal, parse


def shown(model: onnx.ModelProto, *backends: str, everything: bool = False) -> str:
    console = Console(width=100, file=io.StringIO())
    console.print(page(inspect(model, backend=backends), everything))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


@pytest.fixture
def model() -> onnx.ModelProto:
    """One channel of the first layer reaches 100 times as far as the others."""
    wide = np.ones((4, 3, 1, 1), np.float32) * 0.99
    wide[3] = 100
    text = "g (float[N,3,8,8] x) => (float[N,4,8,8] y) { [one] a = Conv(x, w) [act] r = Relu(a) [two] y = Conv(r, v) }"
    return parse(text, w=wide, v=np.ones((4, 4, 1, 1), np.float32))


def test_a_grid_for_all_channels(model: onnx.ModelProto) -> None:
    said = shown(model, "onnxruntime", "snpe")
    snpe = said[said.index("SNPE") :]
    assert "would be integer: 2 of 2 layers, 100.0 % of the MACs" in said
    assert "get one grid" not in said[: said.index("SNPE")]
    assert "2 layers get one grid for all channels; 1 of them lose by it: one " in snpe
    rows = [line.split() for line in said.splitlines() if line.startswith(("one ", "two "))]
    assert [row[:6] for row in rows] == [["one", "4", "100", "at", "3", "101"], ["two", "4", "1", "at", "0", "1"]]
    assert rows[1][6:] == ["exact", "exact"]


def test_work(model: onnx.ModelProto) -> None:
    said = shown(model, "onnxruntime")
    assert "1.79 k MACs a sample in 2 linear layers; fed x [1, 3, 8, 8]" in said  # 64 * 4 * (3 + 4)
    conv = next(line for line in said.splitlines() if line.startswith("Conv"))
    assert conv.split() == ["Conv", "2", "1.79", "k", "100.0", "%", "112", "B", "2.05", "kB"]


def test_all_of_it() -> None:
    names = [f"t{i}" for i in range(15)]
    nodes = " ".join(f"[l{i}] {name} = MatMul(x, w{i})" for i, name in enumerate(names))
    outputs = ", ".join(f"float[N,4] {name}" for name in names)
    weights = {f"w{i}": normal(4, 4, seed=i) for i in range(15)}
    model = parse(f"g (float[N,4] x) => ({outputs}) {{ {nodes} }}", 17, **weights)
    short, whole = shown(model, "openvino"), shown(model, "openvino", everything=True)
    assert "and 11 more outputs: --all shows them" in short and "and 5 more weights: --all shows them" in short
    assert "t14  float32[N,4]" not in short and "t14  float32[N,4]" in whole
    assert "--all" not in whole


def test_layers_that_stay_float_are_named() -> None:
    text = "g (float[N,4,8] q, float[N,8,4] k) => (float[N,4,6] y) { [qk] p = MatMul(q, k) [out] y = MatMul(p, w) }"
    said = shown(parse(text, w=normal(4, 6)), "tensorrt")
    assert "would be integer: 1 of 2 layers, 42.9 % of the MACs" in said
    assert "1 MatMul (57.1 % of the MACs) qk: a product of two activations (attention) is faster" in said


def test_what_rewrites_declined_is_told(model: onnx.ModelProto) -> None:
    found = inspect(model, backend="openvino")
    told = (*found.notes, Entry("declined", "fold_scale", "mul", "it has other readers", "Mul"))
    console = Console(width=100, file=io.StringIO())
    console.print(page(type(found)(found.model, found.contents, found.plans, found.waiting, told, found.weights)))
    assert isinstance(console.file, io.StringIO)
    assert "declined  it has other readers" in console.file.getvalue()
