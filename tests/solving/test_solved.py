"""What is told of solved weights."""

import numpy as np
import pytest

from onnxq.solving.grid import Grid
from onnxq.solving.solved import Solved, clipped_share, told

LAYERS = [Solved(f"conv{i}", "gptq" if i else "mse", 4, 0.1 * (i + 1), 0.01 * i, 0.5) for i in range(5)]


def test_a_line_for_all_and_the_worst() -> None:
    first, *others = told([*LAYERS, Solved("lstm", "nearest", 8, None, 0, 0)])
    assert first == (
        "4 by gptq, 1 by mse, 1 by nearest in 2.5 s, at most 4.0 % clipped; 0.30 of the error of rounding to nearest"
    )
    assert others == [
        "0.50 of it in 'conv4': 4 bits by gptq, 4.0 % clipped",
        "0.40 of it in 'conv3': 4 bits by gptq, 3.0 % clipped",
        "0.30 of it in 'conv2': 4 bits by gptq, 2.0 % clipped",
    ]


def test_few_layers_are_not_told_one_by_one_and_rounding_to_nearest_not_at_all() -> None:
    assert len(list(told(LAYERS[:2]))) == 1
    assert list(told([])) == list(told([Solved("conv", "nearest", 8, 1.0, 0, 0.1)])) == []


@pytest.mark.parametrize(("block", "share"), [(0, 0.25), (2, 0.125)])
def test_values_beyond_the_grid(block: int, share: float) -> None:
    weight = np.array([[[7.4, -7.4, 7.6, 1], [0, 2, -4, -8]]])
    scale = np.ones((1, 2, 2 if block else 1))
    scale[0, 0, -1] = 2 if block else 1
    assert clipped_share(weight, Grid(scale, np.zeros_like(scale), -7, 7, block)) == share
