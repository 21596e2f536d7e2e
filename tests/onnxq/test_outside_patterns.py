"""What passes do with weights that lie outside is what they do with those in the model: graph, grids and reasons."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxq import outside
from onnxq.options import Options
from onnxq.pipeline import quantize
from onnxq.testing import Array, normal, ops, parse

X, Y = "float[N,16] x", "float[N,16] y"
W = normal(16, 16)
VECTOR = normal(16, seed=2)
PATTERNS: dict[str, tuple[onnx.ModelProto, Array]] = {
    "folded": (
        parse(f"g ({X}) => ({Y}) {{ t = Transpose(w) a = MatMul(x, t) b = Relu(a) y = MatMul(b, w) }}", w=W),
        normal(16, 16),
    ),
    "normed": (
        parse(
            "g (float[N,3,8,8] x) => (float[N,16,4,4] y) { c = Conv(x, w) n = BatchNormalization(c, s, b, m, s) "
            "r = Relu(n) y = Conv(r, u, b) }",
            w=normal(16, 3, 3, 3), s=VECTOR**2 + 1, b=VECTOR, m=VECTOR, u=normal(16, 16, 3, 3),
        ),
        normal(16, 3, 8, 8),
    ),
    "a weight that is an input": (
        parse(f"g ({X}, float[16,16] w) => ({Y}) {{ a = MatMul(x, w) b = Relu(a) y = MatMul(b, w) }}", w=W),
        normal(16, 16),
    ),
    "of an old opset": (
        parse(f"g ({X}) => ({Y}) {{ a = MatMul(x, w) b = Softmax<axis=1>(a) y = MatMul(b, w) }}", 9, w=W),
        normal(16, 16),
    ),
    "gathered": (
        parse("g (int64[N,4] x) => (float[N,4,16] y) { a = Gather(t, x) y = MatMul(a, w) }", w=W, t=normal(64, 16)),
        np.arange(64).reshape(16, 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("model", "x"), PATTERNS.values(), ids=PATTERNS)
@pytest.mark.parametrize(
    ("backend", "float_type"),
    [("onnxruntime", None), ("openvino", None), ("tensorrt", "fp16"), ("tensorrt", "bf16"), ("snpe", None)],
)
def test_passes_see_no_difference(
    model: onnx.ModelProto,
    x: Array,
    backend: str,
    float_type: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    onnx.save(copy, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    options = Options(build=False, float_type=float_type)
    inside = quantize(tmp_path / "m.onnx", {"x": x}, backend=backend, options=options)[backend]
    monkeypatch.setattr(outside, "LIMIT", 1_000)
    monkeypatch.setattr(outside, "SMALL", 500)
    beside = quantize(tmp_path / "m.onnx", {"x": x}, backend=backend, options=options)[backend]
    assert ops(beside.model) == ops(inside.model)
    assert beside.plan == inside.plan
    assert beside.activations.keys() == inside.activations.keys()
    for tensor, grid in inside.activations.items():
        np.testing.assert_allclose(beside.activations[tensor].scale, grid.scale, rtol=1e-5)
    assert [(e.kind, e.stage, e.subject) for e in beside.ledger.entries] == [
        (e.kind, e.stage, e.subject) for e in inside.ledger.entries
    ]
