"""AdaRound (Nagel et al. 2020, arXiv 2004.10568): learn for each weight whether it is rounded down or up.

    z = clip(floor(w / s) + h(v)),    h(v) = clip(1.2 sigmoid(v) - 0.1, 0, 1)                        (eq. 22, 23)
    loss = (w - s z) H (w - s z)^T + regularisation * sum (1 - |2 h - 1|^beta)                       (eq. 21, 24)

with Adam, on scales that ``mse`` finds. The loss on ``H`` is that on the samples, and its gradient is one product of
matrices. Each row's is taken over the error of its nearest integers, a weight, so that ``regularisation`` means the
same in every layer. ``beta`` falls from 20 to 2 after a fifth of the steps without regularisation.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import RecipeError
from onnxq.scheme import SMALLEST_SCALE
from onnxq.second_moments import Moments
from onnxq.solving.columns_first import across, returned, turned
from onnxq.solving.descent import times
from onnxq.solving.grid import Matrix
from onnxq.solving.problem import Problem, Solution
from onnxq.solving.scale_search import Mse

Floats = NDArray[np.floating]  # float32: the steps are many, and the integers are judged exactly
WARM = 0.2  # share of the steps without regularisation
FIRST_BETA, LAST_BETA = 20.0, 2.0
WIDTH, START = 1.2, -0.1  # what the sigmoid is stretched to, zeta - gamma and gamma
MEAN, SQUARE, EPSILON = 0.9, 0.999, 1e-8  # Adam's


@dataclass(frozen=True)
class AdaRound:
    """``steps``: of Adam, 10000 in the paper; ``rate``: of learning."""

    steps: int = 1000
    rate: float = 0.01
    regularisation: float = 20.0

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 1_000_000:
            raise RecipeError(f"steps: {self.steps} is not 1 to 1000000")
        for name, most in (("rate", 10), ("regularisation", 1000)):
            if not 0 < getattr(self, name) <= most:
                raise RecipeError(f"{name}: {getattr(self, name)} is not above 0 and at most {most}")

    def __call__(self, problem: Problem) -> Solution:
        grid = Mse().grid(problem)
        weight = turned(problem.weight)
        scale, zero = (across(part, grid, weight.shape) for part in (grid.scale, grid.zero_point))
        exact = weight / scale + zero
        unit = max(float(problem.diagonal.mean()), SMALLEST_SCALE)
        moments = Moments(tuple((h / unit).astype(np.float32) for h in problem.moments.blocks), problem.moments.columns)
        error = problem.error(Solution(grid.nearest(problem.weight), grid)) / unit / len(weight)
        gain = (scale / np.sqrt(np.where(error > 0, error, 1.0))).astype(np.float32)
        up = self._learned(exact, (grid.lowest, grid.highest), gain, moments)
        return Solution(returned(np.clip(np.floor(exact) + up, grid.lowest, grid.highest)), grid)

    def _learned(self, exact: Matrix, ends: tuple[int, int], gain: Floats, moments: Moments) -> NDArray[np.bool_]:
        """Which weights are rounded up. ``gain`` times a weight's distance from what it is rounded to counts."""
        down, exact = np.floor(exact).astype(np.float32), exact.astype(np.float32)
        share = (exact - down - START) / WIDTH
        v = np.log(share / (1 - share))
        adam = _Adam(self.rate, np.zeros_like(v), np.zeros_like(v))
        for step in range(self.steps):
            sigmoid = 1 / (1 + np.exp(-v))
            h = WIDTH * sigmoid + START
            inside = (h > 0) & (h < 1)
            h = np.clip(h, 0, 1, out=h)
            soft = np.clip(down + h, *ends)
            slope = -2 * gain * times((exact - soft) * gain, moments)
            slope *= soft == down + h
            if step >= WARM * self.steps:
                slope += self._pull(h, (step / self.steps - WARM) / (1 - WARM))
            slope *= inside * (WIDTH * sigmoid * (1 - sigmoid))
            v -= adam.step(slope, step + 1)
        return v >= 0

    def _pull(self, h: Floats, progress: float) -> Floats:
        """The gradient of the regularisation, which pulls ``h`` to 0 or 1."""
        beta = FIRST_BETA + (LAST_BETA - FIRST_BETA) * progress
        far = 2 * h - 1
        return np.asarray(-2 * beta * self.regularisation * np.sign(far) * np.abs(far) ** (beta - 1), np.float32)


@dataclass
class _Adam:
    """Kingma and Ba 2015 (arXiv 1412.6980), algorithm 1."""

    rate: float
    mean: Floats
    square: Floats

    def step(self, gradient: Floats, count: int) -> Floats:
        self.mean += (1 - MEAN) * (gradient - self.mean)
        self.square += (1 - SQUARE) * (gradient * gradient - self.square)
        rate = self.rate * math.sqrt(1 - SQUARE**count) / (1 - MEAN**count)
        return np.asarray(rate * self.mean / (np.sqrt(self.square) + EPSILON), np.float32)
