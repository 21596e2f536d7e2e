"""What a weight would be with other bits, solved on what its layer reads in the float graph."""

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.second_moments import Moments
from onnxq.solving.guarded import solve
from onnxq.solving.matrix_grid import matrix_grid, rounded_weight
from onnxq.solving.problem import Problem, Solver
from onnxq.weight_matrix import weight_matrix
from onnxq.workspace import RoundedWeight


def tried(
    node: gs.Node, nearest: RoundedWeight, floor: NDArray[np.float64], moments: Moments, solver: Solver
) -> RoundedWeight:
    """The layer's weight in place of the ``nearest`` one; ``floor``: the least scales that are allowed."""
    weight = weight_matrix(node).astype(np.float64)
    solution = solve(Problem(weight, moments, matrix_grid(node, nearest.params, floor)), solver)
    return rounded_weight(node, nearest.params, solution)
