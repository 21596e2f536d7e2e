"""Split a budget of bits over layers: the integer programme

    minimise sum effect[i][b] x[i][b]   with   sum_b x[i][b] = 1,   sum size[i] b x[i][b] <= budget sum size[i]

over binary ``x``, a knapsack that takes one width of each layer (as in Hubara et al. 2020, arXiv 2006.10518). HiGHS
solves it to optimality but for ``GAP``, and always alike: in one thread, without a limit of time.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

import numpy as np

from onnxq.errors import RecipeError

GAP = 1e-4  # of the sum: effects are known to some percent
SUM = 1e3  # of what is minimised, about: HiGHS' absolute tolerance, 1e-6, is far below the gap then
DIGITS = 6  # of an effect: its last ones may depend on the number of threads


def require_highs() -> None:
    """Raises RecipeError where HiGHS is not installed."""
    if find_spec("highspy") is None:
        raise RecipeError(
            "bits: a budget is split over the layers by HiGHS, which is not installed. Install it with: "
            "pip install 'onnxq[budget]'. Or say the bits, as in {default: 4, first: 8, last: 8}."
        )


def split(effects: Sequence[Mapping[int, float]], sizes: Sequence[int], budget: float) -> list[int]:
    """The bits of each layer, given by bits what it does to the outputs, and how many weights it has.

    Raises RecipeError where even the fewest bits of all layers are over the budget.
    """
    fewest = average([min(found) for found in effects], sizes)
    if fewest > budget:
        raise RecipeError(
            f"bits: a budget of {budget:g} bits cannot be kept: the layers that it is for have {fewest:g} at least. "
            "Give more."
        )
    # From the fewest bits on, only widths that do less harm are any use.
    useful = [_useful(found) for found in effects]
    if average([max(found) for found in useful], sizes) <= budget:
        return [max(found) for found in useful]
    return _solved(useful, sizes, budget)


def average(bits: Sequence[int], sizes: Sequence[int]) -> float:
    """Bits per weight."""
    return float(np.average(bits, weights=sizes))


def _useful(found: Mapping[int, float]) -> dict[int, float]:
    kept: dict[int, float] = {}
    for bits in sorted(found):
        effect = float(f"{found[bits]:.{DIGITS}g}")
        if not kept or effect < min(kept.values()):
            kept[bits] = effect
    return kept


def _solved(effects: Sequence[Mapping[int, float]], sizes: Sequence[int], budget: float) -> list[int]:
    import highspy

    layers = np.array([index for index, found in enumerate(effects) for _ in found], np.int32)
    bits = np.array([width for found in effects for width in found])
    costs = np.array([effect for found in effects for effect in found.values()])
    costs *= SUM / _rounded_down(effects, budget)
    count, rows = len(bits), len(effects)
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = count, rows + 1
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = costs, np.zeros(count), np.ones(count)
    lp.integrality_ = [highspy.HighsVarType.kInteger] * count
    room = np.floor(budget * sum(sizes) + 1e-9)
    lp.row_lower_ = np.array([*[1.0] * rows, -highspy.kHighsInf])
    lp.row_upper_ = np.array([*[1.0] * rows, room])
    matrix = lp.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kColwise
    matrix.start_ = np.arange(0, 2 * count + 1, 2, dtype=np.int32)
    matrix.index_ = np.stack([layers, np.full(count, rows, np.int32)], axis=1).ravel()
    matrix.value_ = np.stack([np.ones(count), np.array(sizes, np.float64)[layers] * bits], axis=1).ravel()
    solver = highspy.Highs()
    for option, value in {"output_flag": False, "threads": 1, "random_seed": 0, "mip_rel_gap": GAP}.items():
        solver.setOptionValue(option, value)
    solver.passModel(lp)
    solver.run()
    assert solver.getModelStatus() == highspy.HighsModelStatus.kOptimal  # the fewest bits of all layers would do
    taken = np.asarray(solver.getSolution().col_value) > 0.5
    return [int(width) for width in bits[taken]]


def _rounded_down(effects: Sequence[Mapping[int, float]], budget: float) -> float:
    """The sum of effects with the bits of the budget everywhere, rounded down as far as a layer can."""
    return sum(found[max((b for b in found if b <= budget), default=min(found))] for found in effects) or 1.0
