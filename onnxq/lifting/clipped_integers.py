"""A Clip between quantizer and dequantizer: how a grid of fewer bits than its type is written, which Brevitas and QONNX
call QCDQ."""

from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import optional
from onnxq.lifting.known import Integers, Lifting, detach
from onnxq.lifting.stored import BOUNDS, Grid, Stored, resolve


def clip(work: Lifting, graph: gs.Graph, node: gs.Node) -> list[gs.Node] | None:
    """What becomes of a Clip: nothing where it only narrows a grid, a Clip of reals where it does more, and None, which
    leaves it as it is, where it reads no integers of one known grid."""
    entry = work.integers.get(id(node.inputs[0]))
    grid = None if entry is None else entry.grid
    if entry is None or grid is None or not grid.integer:
        return None
    ends = _ends(work, node, grid)
    if ends is None:
        return None
    made, real, narrow = node.outputs[0], entry.real, _narrowed(grid, *ends)
    if isinstance(real, Stored):
        kept = replace(real, integers=np.clip(real.integers, *ends))
        work.integers[id(made)] = Integers(made, kept, grid, entry.scale, graph, entry.name)
        detach(node)
        return []
    if narrow is not None:
        work.integers[id(made)] = Integers(made, real, narrow, entry.scale, graph, entry.name)
        detach(node)
        return []
    if grid.axis is not None:
        return None
    clipped = gs.Variable(work.names.fresh(f"{entry.name}/clipped"), np.float32, made.shape)
    limits = [(end - float(grid.zero_point)) * float(grid.scale) for end in ends]
    constants = [gs.Constant(work.names.fresh(f"{entry.name}/limit"), np.asarray(v, np.float32)) for v in limits]
    work.integers[id(made)] = Integers(made, clipped, grid, entry.scale, graph, entry.name)
    detach(node)
    return [gs.Node("Clip", node.name, {}, [real, *constants], [clipped])]


def _ends(work: Lifting, node: gs.Node, grid: Grid) -> tuple[int, int] | None:
    """The least and the greatest integer it lets through, None where they are computed at run time."""
    ends = list(BOUNDS[grid.dtype])
    for index in (0, 1):
        given = optional(node, 1 + index)
        value = ends[index] if given is None else resolve(given, work.opset)
        if value is None:
            return None
        ends[index] = int(np.asarray(value).reshape(()))
    return max(ends[0], BOUNDS[grid.dtype][0]), min(ends[1], BOUNDS[grid.dtype][1])


def _narrowed(grid: Grid, low: int, high: int) -> Grid | None:
    """The grid of the type that has these integers, or, signed, one more below."""
    kind = grid.dtype.rstrip("0123456789")
    for bits in range(2, 17):
        name = f"{kind}{bits}"
        if name in BOUNDS and BOUNDS[name][1] == high and low - BOUNDS[name][0] in (0, int(kind == "int")):
            return replace(grid, dtype=name)
    return None


def narrowed_alike(grid: Grid, clipped: Grid) -> Grid:
    """What reads integers that a Clip narrowed has their grid, though its type says more."""
    kinds = {entry.dtype.rstrip("0123456789") for entry in (grid, clipped)}
    narrower = len(kinds) == 1 and BOUNDS.get(clipped.dtype, (0, 0))[1] < BOUNDS.get(grid.dtype, (0, 0))[1]
    return replace(grid, dtype=clipped.dtype) if narrower else grid
