"""Random graphs keep their function through all exact folds, each of which changes nothing the second time."""

from typing import Any

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.passes import DropIdle, FoldBatchNorm, FoldConstants, FoldGemmFactors, FoldScale, FusePad, MergeSlices
from onnxq.sqnr import sqnr_db
from onnxq.testing import changes_nothing, normal, parse, reads, run, workspace

STEPS = (FoldConstants(), DropIdle(), MergeSlices(), FusePad(), FoldBatchNorm(), FoldScale(), FoldGemmFactors())
BN = "BatchNormalization<epsilon=0.01>"
IMAGE = {  # of 4 channels and 6 x 6 pixels, each to the same
    "conv": "{y} = Conv<pads=[1,1,1,1]>({x}, w3)",
    "conv and bias": "{y} = Conv(  {x}, w1, b)",
    "grouped": "{y} = Conv<group=2>({x}, w2, b)",
    "depthwise": "{y} = Conv<group=4, pads=[1,1,1,1]>({x}, wd)",
    "transposed": "{y} = ConvTranspose<group=2>({x}, wt)",
    "pad": "{y}p = Pad({x}, around) {y} = Conv({y}p, w3)",
    "pad pool": "{y}r = Relu({x}) {y}p = Pad({y}r, around) {y} = MaxPool<kernel_shape=[3,3]>({y}p)",
    "norm": f"{{y}} = {BN}({{x}}, g, b, m, v)",
    "dead norm": f"{{y}} = {BN}({{x}}, dead, b, m, v)",
    "mul": "{y} = Mul({x}, k)",
    "scalar": "{y} = Div({x}, half)",
    "add": "{y} = Add(k, {x})",
    "from": "{y} = Sub(k, {x})",
    "minus": "{y} = Sub({x}, half)",
    "picture": "{y} = Add({x}, whole)",
    "relu": "{y} = Relu({x})",
    "identity": "{y} = Identity({x})",
    "idle": "{y} = Mul({x}, one)",
    "residual": "{y}s = Conv(  {x}, w1) {y} = Add({x}, {y}s)",
    "gate": "{y}s = Sigmoid({x}) {y} = Mul({x}, {y}s)",
    "reshaped": "{y}s = Shape({x}) {y}n = Slice({y}s, zero, first) {y}t = Concat<axis=0>({y}n, rest) "
    "{y} = Reshape({x}, {y}t)",
}
TOKENS = {  # 36 of 4 features, each to the same
    "matmul": "{y} = MatMul({x}, m1)",
    "layer": "{y}m = MatMul({x}, m1) {y} = Add(b, {y}m)",
    "left": "{y} = MatMul(m36, {x})",
    "mul": "{y} = Mul({x}, b)",
    "add": "{y} = Add({x}, b)",
    "half": "{y} = Mul(half, {x})",
    "norm": "{y}t = Transpose<perm=[0,2,1]>({x}) {y}n = " + BN + "({y}t, g, b, m, v) "
    "{y} = Transpose<perm=[0,2,1]>({y}n)",
    "relu": "{y} = Relu({x})",
    "tied": "{y} = MatMul({x}, m1)",
}
VECTOR = {  # of 4
    "gemm": "{y} = Gemm<alpha=0.5, beta=2.0>({x}, m1, b)",
    "gemm transposed": "{y} = Gemm<transB=1>({x}, m1)",
    "matmul": "{y} = MatMul({x}, m1)",
    "norm": f"{{y}} = {BN}({{x}}, g, b, m, v)",
    "mul": "{y} = Mul({x}, b)",
    "tanh": "{y} = Tanh({x})",
}
CONSTANTS: dict[str, Any] = {
    "w3": normal(4, 4, 3, 3, scale=0.2),
    "w1": normal(4, 4, 1, 1, seed=1, scale=0.5),
    "w2": normal(4, 2, 1, 1, seed=2, scale=0.5),
    "wd": normal(4, 1, 3, 3, seed=3, scale=0.3),
    "wt": normal(4, 2, 1, 1, seed=4, scale=0.5),
    "m1": normal(4, 4, seed=5, scale=0.5),
    "m36": normal(36, 36, seed=6, scale=0.2),
    "g": 1 + normal(4, seed=7, scale=0.3),
    "dead": np.array([1, 0, -0.5, 2], np.float32),
    "b": normal(4, seed=8),
    "m": normal(4, seed=9),
    "v": 0.5 + normal(4, seed=10) ** 2,
    "k": np.array([2, -0.5, 1.5, 0.25], np.float32).reshape(4, 1, 1),
    "half": np.array(0.5, np.float32),
    "one": np.ones((1, 4, 1, 1), np.float32),
    "whole": normal(1, 4, 6, 6, seed=11),
    "around": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "zero": np.array([0]),
    "first": np.array([1]),
    "rest": np.array([4, 6, 6]),
    "tokens": np.array([0, 4, 36]),
    "flat": np.array([0, -1]),
}


def words(table: dict[str, str], most: int) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(sorted(table.values())), max_size=most)


def written(image: list[str], tokens: list[str], vector: list[str], kept: int | None) -> onnx.ModelProto:
    """The network, perhaps with the tensor behind one of its steps for a second output."""
    parts: list[str] = []
    outputs: list[str] = []
    last, shape = "x", "N,4,6,6"

    def put(template: str) -> None:
        nonlocal last
        name = f"t{len(parts)}"
        parts.append(template.format(x=last, y=name))
        outputs.append(f", float[{shape}] {name}")
        last = name

    for template in image:
        put(template)
    if tokens:
        shape = "N,36,4"
        put("{y}r = Reshape({x}, tokens) {y} = Transpose<perm=[0,2,1]>({y}r)")
        for template in tokens:
            put(template)
        shape = "N,4"
        put("{y} = ReduceMean<axes=[1], keepdims=0>({x})")
    else:
        shape = "N,4"
        put("{y}p = GlobalAveragePool({x}) {y} = Reshape({y}p, flat)")
    for template in vector:
        put(template)
    parts.append(f"y = Neg({last})")
    body, second = " ".join(parts), "" if kept is None else outputs[kept % len(outputs)]
    text = f"g (float[N,4,6,6] x) => (float[N,4] y{second}) {{ {body} }}"
    return parse(text, **{name: array for name, array in CONSTANTS.items() if reads(body, name)})


@settings(max_examples=120, deadline=None)
@given(words(IMAGE, 8), words(TOKENS, 5), words(VECTOR, 3), st.none() | st.integers(0, 20))
def test_random_networks(image: list[str], tokens: list[str], vector: list[str], kept: int | None) -> None:
    space, x = workspace(written(image, tokens, vector, kept)), normal(3, 4, 6, 6, seed=12)
    before = run(space, x=x)
    for step in STEPS:
        step(space)
        assert changes_nothing(space, step)
    assert not any(step(space) for step in STEPS)
    onnx.checker.check_model(space.model(), full_check=True)
    after = run(space, x=x)
    assert after.keys() == before.keys()
    for name, array in before.items():
        assert sqnr_db(array, after[name]) > 90 or np.allclose(array, after[name], atol=1e-5)
    assert "BatchNormalization" not in [node.op for node in space.graph.nodes]
