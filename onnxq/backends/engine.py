"""What an engine did with a graph, in one form for every engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from onnxq.inputs import Array


@dataclass(frozen=True)
class Layer:
    """What one Conv, ConvTranspose, Gemm or MatMul of the ONNX graph became.

    ``precision`` is the type its products are computed in: ``int8``, ``fp32``, ``bf16``, ``fp16``, ..., or
    ``unknown`` where the engine does not tell (``detail`` then says why, such as a fused subgraph).
    """

    node: str
    op_type: str
    precision: str
    detail: str = ""


@dataclass(frozen=True)
class Reading:
    """What was read back from a built engine.

    ``executed`` is false for an engine that was compiled ahead of time for a device that is not here.
    ``conversions`` counts the quantize, dequantize and reorder kernels left in the engine.
    """

    engine: str
    layers: tuple[Layer, ...]
    conversions: int
    executed: bool = True

    def int8_share(self, macs: Mapping[str, int]) -> float | None:
        """The share of multiply-accumulates, which are given by node, in INT8 kernels; None where there are none."""
        total = sum(macs.values())
        return sum(macs.get(e.node, 0) for e in self.layers if e.precision == "int8") / total if total else None


class Engine(Protocol):
    """A graph built by a real engine."""

    def read_back(self) -> Reading:
        """The precision of every heavy node, and what it cost in conversions."""

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name. Raises EngineError where the engine was only compiled."""
