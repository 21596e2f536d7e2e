"""Sigmoid and Mul become one operator of onnxruntime, and the engine no longer dequantizes for each of them."""

import time
from typing import Any

import numpy as np
import pytest

from onnxq import Options, quantize
from onnxq.backends.onnxruntime import build
from onnxq.passes import InsertQdq
from onnxq.passes.fuse_silu import FuseSilu
from onnxq.passes.quantize_bias import QuantizeBias
from onnxq.recipe import RECIPES
from onnxq.sqnr import sqnr_db
from onnxq.testing import changes_nothing, normal, ops, parse, run, workspace

X = normal(2, 3, scale=3)


def space(body: str, dtype: str = "float", out: str = "y") -> Any:
    outputs = ", ".join(f"{dtype}[2,3] {name}" for name in out.split())
    return workspace(parse(f"g ({dtype}[2,3] x) => ({outputs}) {{ {body} }}"))


@pytest.mark.parametrize("product", ["Mul(x, s)", "Mul(s, x)"])
@pytest.mark.parametrize("dtype", ["float", "float16", "double"])
def test_it_is_one_operator(product: str, dtype: str) -> None:
    x = X.astype({"float": np.float32, "float16": np.float16, "double": np.float64}[dtype])
    fused = space(f"s = Sigmoid(x) y = {product}", dtype)
    before = run(fused, x=x)["y"]
    assert FuseSilu()(fused)
    assert ops(fused) == ["QuickGelu"]
    after = run(fused, x=x)["y"]
    assert after.dtype == before.dtype
    assert sqnr_db(before, after) > (60 if dtype == "float16" else 120)
    assert changes_nothing(fused, FuseSilu())
    assert [entry.domain for entry in fused.model().opset_import] == ["", "com.microsoft"]
    assert fused.ledger.of("changed")[0].reason.startswith("1 pairs of Sigmoid and Mul")


@pytest.mark.parametrize(
    ("body", "out"),
    [
        ("s = Sigmoid(x) z = Neg(x) y = Mul(z, s)", "y"),
        ("s = Sigmoid(x) y = Mul(s, s)", "y"),
        ("s = Sigmoid(x) z = Neg(s) y = Mul(x, s)", "y z"),
        ("s = Sigmoid(x) y = Mul(x, s)", "y s"),
        ("s = Tanh(x) y = Mul(x, s)", "y"),
    ],
)
def test_what_is_no_silu_or_read_by_others_stays(body: str, out: str) -> None:
    assert changes_nothing(space(body, out=out), FuseSilu())


def chain(channels: int = 64, size: int = 52) -> Any:
    weights: dict[str, Any] = {
        "v": normal(channels, channels, 1, 1, scale=0.2),
        "w": normal(channels, channels, 1, 1, scale=0.2),
    }
    text = "a = Conv(x, v) s = Sigmoid(a) b = Mul(a, s) y = Conv(b, w)"
    shape = f"float[1,{channels},{size},{size}]"
    return parse(f"g ({shape} x) => ({shape} y) {{ {text} }}", **weights), {"x": normal(2, channels, size, size)}


def test_the_engine_dequantizes_once_and_is_faster() -> None:
    model, samples = chain()
    fused = quantize(model, samples, options=Options(build=False))["onnxruntime"].model
    assert "QuickGelu" in ops(fused)
    apart = workspace(model, samples)
    for step in (*RECIPES["default"].passes, QuantizeBias()):
        step(apart)
    assert isinstance(RECIPES["default"].passes[-1], InsertQdq)
    engines = [build(graph, threads=1) for graph in (fused, apart.model())]
    one, two = (engine.read_back() for engine in engines)
    assert one.layers == two.layers
    assert one.conversions < two.conversions

    feeds = {"x": samples["x"][:1]}
    answers = [engine.run(feeds)["y"] for engine in engines]
    assert sqnr_db(answers[1], answers[0]) > 35  # a step here and there
    seconds: list[list[float]] = [[], []]
    for _ in range(40):
        for engine, found in zip(engines, seconds, strict=True):
            start = time.perf_counter()
            engine.run(feeds)
            found.append(time.perf_counter() - start)
    assert min(seconds[0]) < 0.95 * min(seconds[1])  # 0.8 where nothing disturbs
