"""Which tensor gets which grid, which tensors share one, who reads them as integers, and why a node got none."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from onnxq.scheme import ActivationSchemes, Scheme

Edge = tuple[str, int]
"""A node's name and the index of one of its inputs."""


@dataclass(frozen=True)
class Activation:
    """A tensor that becomes integer, for the readers that ``wanted`` it or for ``everyone``, a graph output included.

    ``grid`` names the tensor whose statistics choose the grid: itself, or the one whose integers it passes on.
    ``through`` is the activation function (of ``onnxq.nonlinear``) that is all that reads it, if there is one.
    """

    tensor: str
    schemes: ActivationSchemes
    grid: str
    wanted: frozenset[Edge]
    everyone: bool = False
    through: str | None = None

    @property
    def readers(self) -> frozenset[Edge] | None:
        """Who reads integers; None means all of them."""
        return None if self.everyone else self.wanted


@dataclass(frozen=True)
class Weight:
    """A constant that becomes integer, for the readers that want it on this grid."""

    tensor: str
    scheme: Scheme
    readers: frozenset[Edge]

    @property
    def layer(self) -> str:
        """The name of a layer that has it; the first of several."""
        return min(name for name, _ in self.readers)


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
    def integer(self) -> frozenset[str]:
        """Names of the nodes that read activations as integers."""
        return frozenset(name for entry in self.activations.values() for name, _ in entry.wanted)

    @property
    def nodes(self) -> frozenset[str]:
        """Names of the nodes whose weight becomes integer."""
        return frozenset(name for weight in self.weights for name, _ in weight.readers)

    def without(self, tensors: Mapping[str, str]) -> "Plan":
        """The plan with the grids of some tensors taken away; the reason is given for every node that wanted them,
        and nothing else becomes integer for such a node."""
        lost = [entry for entry in self.activations.values() if entry.grid in tensors]
        reasons = {name: tensors[entry.grid] for entry in lost for name, _ in entry.wanted}
        kept = {name: entry for name, entry in self.activations.items() if entry.grid not in tensors}
        return replace(self, activations=kept).without_nodes(reasons)

    def without_nodes(self, reasons: Mapping[str, str]) -> "Plan":
        """The plan with nothing integer for some nodes, whose names come with the reason."""
        kept = [replace(entry, wanted=_others(entry.wanted, reasons)) for entry in self.activations.values()]
        weights = (replace(weight, readers=_others(weight.readers, reasons)) for weight in self.weights)
        return Plan(
            {entry.tensor: entry for entry in kept if entry.everyone or entry.wanted},
            tuple(weight for weight in weights if weight.readers),
            {**self.floats, **reasons},
        )


def _others(edges: frozenset[Edge], nodes: Collection[str]) -> frozenset[Edge]:
    return frozenset(edge for edge in edges if edge[0] not in nodes)
