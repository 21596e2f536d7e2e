"""Small networks put together at random: images, then perhaps tokens, then a vector, by steps that keep the shape.

A step is the text of a few nodes from ``{x}`` to ``{y}``. A constant whose name begins with $ is the step's own, any
other is shared by all steps that read it.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxq.testing import normal, parse, reads

BN = "BatchNormalization<epsilon=0.01>"
IMAGE = {  # of 4 channels and 6 x 6 pixels, each to the same
    "conv": "{y} = Conv<pads=[1,1,1,1]>({x}, $w3)",
    "conv and bias": "{y} = Conv({x}, $w1, $b)",
    "pair": "{y}a = Conv({x}, $w1, $b) {y}r = Relu({y}a) {y} = Conv<pads=[1,1,1,1]>({y}r, $w3, $b)",
    "triple": "{y}a = Conv({x}, $wide) {y}r = Relu({y}a) {y}d = Conv<group=8, pads=[1,1,1,1]>({y}r, $wd8, $b8) "
    "{y}s = LeakyRelu({y}d) {y} = Conv({y}s, $narrow)",
    "tied": "{y} = Conv({x}, w1, b)",
    "grouped": "{y} = Conv<group=2>({x}, $w2, $b)",
    "depthwise": "{y} = Conv<group=4, pads=[1,1,1,1]>({x}, $wd)",
    "transposed": "{y} = ConvTranspose<group=2>({x}, $wt)",
    "pad": "{y}p = Pad({x}, around) {y} = Conv({y}p, $w3)",
    "pad pool": "{y}r = Relu({x}) {y}p = Pad({y}r, around) {y} = MaxPool<kernel_shape=[3,3]>({y}p)",
    "average": "{y} = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], strides=[1,1]>({x})",
    "resize": '{y} = Resize<mode="linear">({x}, , size)',
    "norm": f"{{y}} = {BN}({{x}}, g, b, m, v)",
    "dead norm": f"{{y}} = {BN}({{x}}, dead, b, m, v)",
    "mul": "{y} = Mul({x}, k)",
    "scalar": "{y} = Div({x}, half)",
    "add": "{y} = Add(k, {x})",
    "from": "{y} = Sub(k, {x})",
    "minus": "{y} = Sub({x}, half)",
    "picture": "{y} = Add({x}, whole)",
    "relu": "{y} = Relu({x})",
    "relu6": "{y} = Clip({x}, none, six)",
    "prelu": "{y} = PRelu({x}, k)",
    "identity": "{y} = Identity({x})",
    "idle": "{y} = Mul({x}, one)",
    "residual": "{y}s = Conv({x}, $w1) {y} = Add({x}, {y}s)",
    "two branches": "{y}s = Conv({x}, $w1) {y}t = Conv({x}, $w1, $b) {y}u = Max({y}s, {y}t) {y} = Sum({y}u, {x}, {y}s)",
    "gate": "{y}s = Sigmoid({x}) {y} = Mul({x}, {y}s)",
    "excite": "{y}m = GlobalAveragePool({x}) {y}s = Conv({y}m, $w1) {y}r = Relu({y}s) {y}t = Conv({y}r, $w1) "
    "{y}g = Sigmoid({y}t) {y} = Mul({y}g, {x})",
    "concat": "{y}s = Conv({x}, $w1) {y}c = Concat<axis=1>({x}, {y}s) {y}r = Relu({y}c) {y} = Conv({y}r, $narrow)",
    "split": "{y}a = Conv({x}, $w1) {y}s, {y}t = Split<axis=1>({y}a, halves) {y}u = Relu({y}s) "
    "{y} = Concat<axis=1>({y}t, {y}u)",
    "shuffle": "{y} = Gather<axis=1>({x}, order)",
    "backwards": "{y}s = Slice({x}, last, before, first, last) {y} = Add({x}, {y}s)",
    "padded sum": "{y}s = Slice({x}, zero, second, first) {y}p = Pad({y}s, after) {y} = Add({y}p, {x})",
    "reshaped": "{y}s = Shape({x}) {y}n = Slice({y}s, zero, first) {y}t = Concat<axis=0>({y}n, rest) "
    "{y} = Reshape({x}, {y}t)",
}
TOKENS = {  # 36 of 4 features, each to the same
    "matmul": "{y} = MatMul({x}, $m1)",
    "pair": "{y}a = MatMul({x}, $m1) {y}s = Add({y}a, $b) {y}r = Relu({y}s) {y} = MatMul({y}r, $m1)",
    "layer": "{y}m = MatMul({x}, $m1) {y} = Add(b, {y}m)",
    "left": "{y} = MatMul(m36, {x})",
    "mul": "{y} = Mul({x}, b)",
    "add": "{y} = Add({x}, b)",
    "half": "{y} = Mul(half, {x})",
    "norm": "{y}t = Transpose<perm=[0,2,1]>({x}) {y}n = " + BN + "({y}t, g, b, m, v) "
    "{y} = Transpose<perm=[0,2,1]>({y}n)",
    "flat": "{y}f = Reshape({x}, rows) {y}m = MatMul({y}f, $m1) {y} = Reshape({y}m, back)",
    "heads": "{y}h = Reshape({x}, heads) {y}t = Transpose<perm=[0,2,1,3]>({y}h) {y}r = Relu({y}t) "
    "{y}b = Transpose<perm=[0,2,1,3]>({y}r) {y} = Reshape({y}b, back)",
    "residual": "{y}a = MatMul({x}, $m1) {y}r = Relu({y}a) {y}m = MatMul({y}r, $m1) {y} = Add({y}m, {x})",
    "relu": "{y} = Relu({x})",
    "tied": "{y} = MatMul({x}, m1)",
}
VECTOR = {  # of 4
    "gemm": "{y} = Gemm<alpha=0.5, beta=2.0>({x}, $m1, $b)",
    "gemm transposed": "{y} = Gemm<transB=1>({x}, $m1)",
    "pair": "{y}a = Gemm({x}, $m1, $b) {y}r = Relu({y}a) {y} = Gemm<transB=1>({y}r, $m1)",
    "matmul": "{y} = MatMul({x}, $m1)",
    "image": "{y}a = Unsqueeze({x}, places) {y}b = Conv({y}a, $w1) {y} = Squeeze({y}b, places)",
    "norm": f"{{y}} = {BN}({{x}}, g, b, m, v)",
    "mul": "{y} = Mul({x}, b)",
    "tanh": "{y} = Tanh({x})",
}
CONSTANTS: dict[str, NDArray[Any]] = {
    "w3": normal(4, 4, 3, 3, scale=0.2),
    "w1": normal(4, 4, 1, 1, seed=1, scale=0.5),
    "w2": normal(4, 2, 1, 1, seed=2, scale=0.5),
    "wd": normal(4, 1, 3, 3, seed=3, scale=0.3),
    "wt": normal(4, 2, 1, 1, seed=4, scale=0.5),
    "wide": normal(8, 4, 1, 1, seed=12, scale=0.5),
    "wd8": normal(8, 1, 3, 3, seed=13, scale=0.3),
    "b8": normal(8, seed=14),
    "narrow": normal(4, 8, 1, 1, seed=15, scale=0.3),
    "m1": normal(4, 4, seed=5, scale=0.5),
    "m36": normal(36, 36, seed=6, scale=0.2),
    "g": 1 + normal(4, seed=7, scale=0.3),
    "dead": np.array([1, 0, -0.5, 2], np.float32),
    "b": normal(4, seed=8),
    "m": normal(4, seed=9),
    "v": 0.5 + normal(4, seed=10) ** 2,
    "k": np.array([2, -0.5, 1.5, 0.25], np.float32).reshape(4, 1, 1),
    "half": np.array(0.5, np.float32),
    "none": np.array(0, np.float32),
    "six": np.array(6, np.float32),
    "one": np.ones((1, 4, 1, 1), np.float32),
    "whole": normal(1, 4, 6, 6, seed=11),
    "around": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "after": np.array([0, 0, 0, 0, 0, 2, 0, 0]),
    "order": np.array([2, 0, 3, -3]),
    "halves": np.array([2, 2]),
    "zero": np.array([0]),
    "first": np.array([1]),
    "second": np.array([2]),
    "last": np.array([-1]),
    "before": np.array([-(2**40)]),
    "rest": np.array([4, 6, 6]),
    "size": np.array([1, 1, 1, 1], np.float32),
    "tokens": np.array([0, 4, 36]),
    "rows": np.array([-1, 4]),
    "back": np.array([-1, 36, 4]),
    "heads": np.array([0, 36, 2, 2]),
    "flat": np.array([0, -1]),
    "places": np.array([2, 3]),
}


@dataclass(frozen=True)
class Network:
    """The text of a model and its constants."""

    text: str
    constants: dict[str, Any]

    def model(self) -> onnx.ModelProto:
        return parse(self.text, **self.constants)


def networks(
    image: dict[str, str] = IMAGE, tokens: dict[str, str] = TOKENS, vector: dict[str, str] = VECTOR, unlike: float = 0.0
) -> st.SearchStrategy[Network]:
    """Of some of these steps, perhaps with the tensor behind one of them for a second output. The weights of a step of
    its own are random, and differ in size from channel to channel by about e to the ``unlike``."""
    kept = st.none() | st.integers(0, 20)
    return st.builds(network, _words(image, 8), _words(tokens, 5), _words(vector, 3), kept, st.just(unlike))


def _words(table: dict[str, str], most: int) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(sorted(table.values())), max_size=most)


def network(image: list[str], tokens: list[str], vector: list[str], kept: int | None, unlike: float) -> Network:
    constants: dict[str, NDArray[Any]] = {}
    parts: list[str] = []
    outputs: list[str] = []
    last, shape = "x", "N,4,6,6"

    def own(match: re.Match[str]) -> str:
        name = f"{match[1]}_{len(constants)}"
        constants[name] = _like(CONSTANTS[match[1]], len(constants) + 100, unlike)
        return name

    def put(template: str) -> None:
        nonlocal last
        name = f"t{len(parts)}"
        parts.append(re.sub(r"\$(\w+)", own, template.format(x=last, y=name)))
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
    constants |= {name: array for name, array in CONSTANTS.items() if reads(body, name)}
    return Network(f"g (float[N,4,6,6] x) => (float[N,4] y{second}) {{ {body} }}", constants)


def _like(array: NDArray[Any], seed: int, unlike: float) -> NDArray[Any]:
    """Other random numbers of that size and shape."""
    random = np.random.default_rng(seed)
    found = random.permutation(array.ravel()).reshape(array.shape)
    for axis in range(min(array.ndim, 2)):
        along = [-1 if a == axis else 1 for a in range(array.ndim)]
        found = found * np.exp(unlike * random.standard_normal(array.shape[axis])).reshape(along)
    return np.asarray(found, array.dtype)
