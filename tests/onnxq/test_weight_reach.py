"""How far weights reach, against numpy, while factors change."""

from typing import Any

import numpy as np
import pytest

from onnxq.channel_flow import regions
from onnxq.testing import normal, parse, workspace
from onnxq.weight_reach import WeightReach

LAYERS: dict[str, tuple[str, tuple[int, ...], int]] = {  # node, weight, what it makes
    "conv": ("Conv(x, w)", (6, 4, 3, 3), 6),
    "groups": ("Conv<group=2>(x, w)", (6, 2, 3, 3), 6),
    "depthwise": ("Conv<group=4>(x, w)", (8, 1, 3, 3), 8),
    "transposed": ("ConvTranspose(x, w)", (4, 6, 3, 3), 6),
    "transposed groups": ("ConvTranspose<group=2>(x, w)", (4, 3, 3, 3), 6),
    "gemm": ("Gemm(f, w)", (4, 6), 6),
    "gemm transposed": ("Gemm<transB=1>(f, w)", (6, 4), 6),
    "matmul": ("MatMul(f, w)", (4, 6), 6),
}


def full(shape: tuple[int, ...], name: str) -> Any:
    """[made, read], zero between groups."""
    weight = np.abs(normal(*shape)).reshape(*shape[:2], -1).max(axis=2)
    if name in ("gemm", "matmul", "transposed"):
        return weight.T
    groups = {"groups": 2, "depthwise": 4, "transposed groups": 2}.get(name, 1)
    parts = np.split(weight, groups)
    parts = [part.T for part in parts] if name == "transposed groups" else parts
    made, read = parts[0].shape
    found = np.zeros((groups * made, groups * read), np.float32)
    for at, part in enumerate(parts):
        found[at * made : (at + 1) * made, at * read : (at + 1) * read] = part
    return found


@pytest.mark.parametrize("name", LAYERS)
def test_rows_and_columns(name: str) -> None:
    node, shape, made = LAYERS[name]
    body = f"p = GlobalAveragePool(x) f = Flatten(p) [layer] l = {node} y = Shape(l)"
    space = workspace(parse(f"g (float[N,4,5,5] x) => (int64[A] y) {{ {body} }}", w=normal(*shape)))
    reach = WeightReach(next(node for node in space.graph.nodes if node.name == "layer"))
    wanted = full(shape, name)
    np.testing.assert_allclose(reach.rows([]), wanted.max(axis=1))
    np.testing.assert_allclose(reach.columns([]), wanted.max(axis=0))
    reach.made, reach.read = (1, np.arange(made)[::-1]), (0, np.array([2, 0, 1, 1]))
    for seed in range(3):
        logs = [normal(3, seed=seed).astype(np.float64), normal(made, seed=seed + 9).astype(np.float64)]
        scaled = wanted * np.exp(logs[1][::-1])[:, None] / np.exp(logs[0][[2, 0, 1, 1]])
        np.testing.assert_allclose(reach.rows(logs), scaled.max(axis=1), rtol=1e-5)
        np.testing.assert_allclose(reach.columns(logs), scaled.max(axis=0), rtol=1e-5)
        np.testing.assert_allclose(reach.rows(logs), scaled.max(axis=1), rtol=1e-5)


def test_infinite_weights_are_told() -> None:
    text = "g (float[N,1,1,1] x) => (float[N,1,1,1] y) { [layer] y = Conv(x, w) }"
    graph = workspace(parse(text, w=np.full((1, 1, 1, 1), np.inf, np.float32))).graph
    assert not WeightReach(graph.nodes[0]).finite
    assert regions(graph) == []
