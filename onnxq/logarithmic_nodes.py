"""A logarithmic grid in ordinary operators, for simulation: ``sign(x) * scale * exp(DQ(Q(log(|x| / scale))))``,
with ``|x|`` clipped to the grid and what is too small made zero; Q has steps of ``log(2) / 16``."""

import math

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Names
from onnxq.logarithmic import STEP, largest


def simulation(names: Names, name: str, source: gs.Tensor, result: gs.Tensor, scale: float) -> list[gs.Node]:
    """The nodes that put ``source`` on the grid: between Q and DQ lies ``k``, as the uint8 of a logarithm."""
    nodes: list[gs.Node] = []

    def constant(what: str, value: float, dtype: type = np.float32) -> gs.Constant:
        return gs.Constant(names.fresh(f"{name}/{what}"), np.asarray(value, dtype))

    def node(op: str, *inputs: gs.Tensor, dtype: type = np.float32, made: gs.Tensor | None = None) -> gs.Tensor:
        made = made if made is not None else gs.Variable(names.fresh(f"{name}/{op.lower()}"), dtype, source.shape)
        nodes.append(gs.Node(op, names.fresh(f"{name}/{op}"), inputs=list(inputs), outputs=[made]))
        return made

    zero, unit = constant("zero", 0), constant("scale", scale)
    grid = constant("step", math.log(STEP)), constant("zero_point", 0, np.uint8)
    magnitude = node("Abs", source)
    negative = node("Less", source, zero, dtype=bool)
    least = node("Where", negative, constant("least_negative", scale * STEP), unit)
    clipped = node("Max", node("Min", magnitude, constant("most", float(largest(scale)))), least)
    exponent = node("Log", node("Div", clipped, unit))
    k = node("QuantizeLinear", exponent, *grid, dtype=np.uint8)
    rounded = node("Mul", node("Exp", node("DequantizeLinear", k, *grid)), unit)
    heard = node("GreaterOrEqual", magnitude, node("Mul", least, constant("half", 0.5)), dtype=bool)
    node("Where", heard, node("Mul", rounded, node("Sign", source)), zero, made=result)
    return nodes
