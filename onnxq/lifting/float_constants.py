"""The float constants that a lift makes of integers, each once, with the integers beside it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Names
from onnxq.lifting.stored import Grid, Stored

_SUFFIX = re.compile(r"([_/](de)?quantized|_quant|_(De|Q)uantizeLinear_Output)$")


def bare_name(name: str) -> str:
    """A tensor's name without what quantizers append to it."""
    return _SUFFIX.sub("", name)


@dataclass(frozen=True)
class FloatConstant:
    """A constant, the integers it was kept as, and the name it should have."""

    constant: gs.Constant
    stored: Stored
    name: str


@dataclass
class FloatConstants:
    """Tensors are known by identity; they are held here, so that no other gets theirs."""

    names: Names
    _made: dict[int, FloatConstant] = field(default_factory=dict)
    _read: dict[int, list[tuple[gs.Tensor, Grid | None, gs.Constant]]] = field(default_factory=dict)

    def of(self, source: gs.Tensor, stored: Stored, name: str) -> gs.Constant:
        """The floats of the integers ``source``: one constant for all that read it on the same grid."""
        known = self._read.setdefault(id(source), [])
        for _, grid, constant in known:
            if grid is not None and stored.grid is not None and grid.same(stored.grid):
                return constant
        constant = self.new(stored, name)
        known.append((source, stored.grid, constant))
        return constant

    def new(self, stored: Stored, name: str) -> gs.Constant:
        base = bare_name(name)
        constant = gs.Constant(self.names.fresh(f"{base}/float"), np.ascontiguousarray(stored.values()))
        self._made[id(constant)] = FloatConstant(constant, stored, base)
        return constant

    def known(self, tensor: gs.Tensor) -> FloatConstant | None:
        return self._made.get(id(tensor))

    def alive(self) -> Iterator[tuple[gs.Constant, Stored]]:
        """Those that are read."""
        for made in self._made.values():
            if made.constant.outputs:
                yield made.constant, made.stored

    def rename(self, graph: gs.Graph) -> None:
        """Give each the name its floats had, or its integers without what was appended to it, if that is free."""
        taken = set(graph.tensors()) | {node.name for node in graph.nodes}
        for made in self._made.values():
            if made.constant.outputs and made.name not in taken:
                made.constant.name = made.name
                taken.add(made.name)
