"""Solve the weights of a network in graph order, each on what its layer reads behind those solved before it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.channels import activation
from onnxq.columns import columns_of
from onnxq.data.batches import Batch
from onnxq.errors import Declined
from onnxq.graph import HEAVY_OPS, is_constant
from onnxq.moment_turns import BLOCK, blocks_of
from onnxq.plan import Weight
from onnxq.solving.guarded import solve
from onnxq.solving.matrix_grid import matrix_grid, rounded_weight
from onnxq.solving.one_thread import one_thread
from onnxq.solving.pairs import Pairs
from onnxq.solving.prefix import Prefix, Reading
from onnxq.solving.problem import Problem, Solution, Solver
from onnxq.solving.solved_layer import STAGE
from onnxq.solving.target import target
from onnxq.weight_forms import in_8_bits
from onnxq.weight_matrix import weight_matrix
from onnxq.workspace import RoundedWeight, Workspace

Rounded = Mapping[Weight, RoundedWeight]
Floors = Mapping[Weight, NDArray[np.float64]]


@dataclass(frozen=True)
class Solved:
    """What a solver did to the weight of a layer: its square ``error`` over that of the nearest integers on the grid it
    began with, both on what the layer reads; the share of its integers that are ``clipped`` to the ends of the grid."""

    weight: Weight
    op: str
    rounded: RoundedWeight
    error: float
    clipped: float
    seconds: float


def solvable(workspace: Workspace, weights: Rounded) -> dict[str, Weight]:
    """The weights that can be solved, by the name of the layer that reads them; the ledger is told of the others."""
    nodes = {node.name: node for node in workspace.graph.nodes}
    found = {}
    for weight in weights:
        try:
            found[_layer(weight, nodes)] = weight
        except Declined as reason:
            said = f"its weight is rounded to nearest: {reason}"
            workspace.ledger.add("declined", STAGE, weight.tensor, said)
    return found


def _layer(weight: Weight, nodes: Mapping[str, gs.Node]) -> str:
    """Raises Declined."""
    names = sorted({name for name, _ in weight.readers})
    if not weight.scheme.even:
        raise Declined("its grid is of floats, or logarithmic")
    if len(names) != 1:
        raise Declined(f"{len(names)} layers share it")
    node = nodes.get(names[0])
    if node is None:
        raise Declined("its layer stands in the body of an If, Loop or Scan")
    if node.op not in HEAVY_OPS:
        raise Declined(f"{node.op} only stores it as integers")
    if is_constant(node.inputs[activation(node)]):
        raise Declined("its layer reads a constant")
    columns_of(node)
    return names[0]


def solve_in_order(
    workspace: Workspace,
    graphs: tuple[onnx.ModelProto, onnx.ModelProto],
    weights: Rounded,
    floors: Floors,
    solver: Solver,
    batches: Sequence[Batch],
    looked_at: Callable[[RoundedWeight, int], int],
) -> list[Solved]:
    """``graphs``: the float one, and that with the ``weights``, which are rounded to nearest; ``floors``: the least
    scales they may have; ``looked_at``: how many columns of a layer with that weight and blocks of at most so many, if
    there are as many. Raises ModelError where a graph cannot be run part by part."""
    layers = solvable(workspace, weights)
    nodes = {node.name: node for node in workspace.graph.nodes}
    wanted, made = graphs
    reads = {node.name: node for node in made.graph.node}
    stored = {node.output[0]: node.input for node in made.graph.node if node.op_type == "DequantizeLinear"}
    readings = {
        name: _reading(nodes[name], reads[name], partial(looked_at, weights[weight])) for name, weight in layers.items()
    }
    prefix = Prefix(wanted, made, readings, [batch.feeds for batch in batches], workspace.progress)
    found = []
    for level in prefix:
        for name, halves in level.items():
            weight, start = layers[name], time.perf_counter()
            node = nodes[name]
            if not all(half.finite for half in halves):
                reason = "its weight is rounded to nearest: what the layer reads is infinite or NaN on the samples"
                workspace.ledger.add("declined", STAGE, name, reason, node.op)
                continue
            with one_thread():
                entry = _solved(node, weights[weight], floors[weight], halves, solver)
            found.append(Solved(weight, node.op, *entry, seconds=time.perf_counter() - start))
            integers, scale, zero = stored[reads[name].input[1 - activation(node)]]
            numbers, zero_point = in_8_bits(entry[0])
            prefix.replace({integers: numbers, scale: entry[0].params.scale, zero: zero_point})
    return found


def _reading(node: gs.Node, made: onnx.NodeProto, looked_at: Callable[[int], int]) -> Reading:
    columns = columns_of(node)
    blocks = blocks_of(columns, BLOCK)
    read = activation(node)
    return Reading(node.inputs[read].name, made.input[read], columns, blocks, looked_at(max(blocks)))


def _solved(
    node: gs.Node, nearest: RoundedWeight, floor: NDArray[np.float64], halves: tuple[Pairs, Pairs], solver: Solver
) -> tuple[RoundedWeight, float, float]:
    """The weight, and of ``Solved`` the error and what is clipped."""
    values = weight_matrix(node).astype(np.float64)
    one, other = halves
    wanted = target(values, one, other)[0] if other.moments.columns else values
    grid = matrix_grid(node, nearest.params, floor)
    problem = Problem(wanted, one.merge(other).moments, grid)
    solution = solve(problem, solver)
    before = float(problem.error(Solution(grid.nearest(values), grid)).sum())
    after = float(problem.error(solution).sum())
    ends = (solution.integers == solution.grid.lowest) | (solution.integers == solution.grid.highest)
    scale, _ = solution.grid.of(slice(None), wanted.shape[2])
    beyond = ends & (np.abs(wanted - solution.reals) > scale / 2)
    return rounded_weight(node, nearest.params, solution), after / before if before > 0 else 1.0, float(beyond.mean())
