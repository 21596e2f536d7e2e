"""Which tensor gets which grid, which tensors share one, who reads them as integers, and why a node got none."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from onnxq.scheme import ActivationSchemes, Scheme

Edge = tuple[str, int]
"""A node's name and the index of one of its inputs."""


@dataclass(frozen=True)
class Activation:
    """A tensor that becomes integer. ``readers=None`` means all of them, a graph output included.

    ``grid`` names the tensor whose statistics choose the grid: itself, or the one whose integers it passes on.
    """

    tensor: str
    schemes: ActivationSchemes
    grid: str
    readers: frozenset[Edge] | None


@dataclass(frozen=True)
class Weight:
    """A constant that becomes integer, for the readers that want it on this grid."""

    tensor: str
    scheme: Scheme
    readers: frozenset[Edge]


@dataclass(frozen=True)
class Plan:
    """The whole decision for one backend. ``floats`` has a reason for every node that stays in float."""

    activations: Mapping[str, Activation] = field(default_factory=dict)
    weights: tuple[Weight, ...] = ()
    floats: Mapping[str, str] = field(default_factory=dict)

    @property
    def watched(self) -> frozenset[str]:
        """The tensors whose statistics are needed."""
        return frozenset(entry.grid for entry in self.activations.values())

    @property
    def nodes(self) -> frozenset[str]:
        """Names of the nodes whose weight becomes integer."""
        return frozenset(name for weight in self.weights for name, _ in weight.readers)

    def without(self, tensors: Mapping[str, str]) -> "Plan":
        """The plan with the grids of some tensors taken away; the reason is given for every reader they had."""
        lost = {t: a for t, a in self.activations.items() if a.grid in tensors}
        floats = dict(self.floats)
        for activation in lost.values():
            for name, _ in activation.readers or ():
                floats[name] = tensors[activation.grid]
        kept = {t: a for t, a in self.activations.items() if t not in lost}
        weights = tuple(w for w in self.weights if not any(name in floats for name, _ in w.readers))
        return replace(self, activations=kept, weights=weights, floats=floats)
