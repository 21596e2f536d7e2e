"""What a weight would be with other bits, solved on what its layer reads in the float graph."""

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.scheme import QParams
from onnxq.second_moments import Moments
from onnxq.solving.guarded import solve
from onnxq.solving.matrix_grid import matrix_grid
from onnxq.solving.problem import Problem, Solver
from onnxq.weight_matrix import from_matrix, weight_matrix


def tried(
    node: gs.Node, params: QParams, floor: NDArray[np.float64], moments: Moments, solver: Solver
) -> NDArray[np.float32]:
    """What the integers of the layer's weight stand for, in its shape. ``params``: the grid to begin with; ``floor``:
    the least scales that are allowed."""
    problem = Problem(weight_matrix(node).astype(np.float64), moments, matrix_grid(node, params, floor))
    return np.asarray(from_matrix(node, solve(problem, solver).reals), np.float32)
