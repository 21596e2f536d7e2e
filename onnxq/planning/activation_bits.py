"""How many bits the activations of a plan get.

Bits are asked for layer by layer, since what they are spent on are products: a tensor has as many as the linear layer
that asks for most of those that read it. What no linear layer reads (what is summed up, or pooled, or leaves the model)
has 8, or as many as the layers where these have more: nothing is multiplied there that narrow integers would speed up.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import onnx_graphsurgeon as gs

from onnxq.backends.backend import Backend
from onnxq.errors import RecipeError
from onnxq.graph import HEAVY_OPS, readers
from onnxq.plan import Activation, Plan
from onnxq.planning.tails import after_a_layer, before_a_layer
from onnxq.scheme import ActivationSchemes, Steps

STORED = 8  # bits: what narrower grids are stored in
WIDE = 16
SENSIBLE = (*range(2, STORED + 1), WIDE)
PLACES = ("default", "first", "last")

Written = int | Mapping[str, int]


@dataclass(frozen=True)
class ActivationBits:
    """Bits by layer: of those that a pattern, searched in their names, finds (the first that does), of the ``first``
    and the ``last`` ones of the model, and of all others. None: as the backend has it."""

    default: int | None = None
    first: int | None = None
    last: int | None = None
    patterns: tuple[tuple[str, int], ...] = ()

    @staticmethod
    def of(written: Written) -> "ActivationBits":
        """As recipes have it: a number, or one for ``default``, ``first``, ``last`` and regular expressions. Raises
        RecipeError."""
        entries = {"default": written} if isinstance(written, int) else dict(written)
        for name, bits in entries.items():
            if bits not in SENSIBLE:
                where = "" if name == "default" else f"{name}: "
                raise RecipeError(f"activation_bits: {where}{bits} is not 2 to 8, or 16 (--activation-bits).")
        patterns = {name: bits for name, bits in entries.items() if name not in PLACES}
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise RecipeError(f"activation_bits: {pattern!r} is not a regular expression: {error}") from error
        return ActivationBits(*(entries.get(place) for place in PLACES), tuple(patterns.items()))

    @property
    def all(self) -> frozenset[int]:
        """Every number of bits that is named."""
        named = (self.default, self.first, self.last, *(bits for _, bits in self.patterns))
        return frozenset(bits for bits in named if bits is not None)

    def idle(self, names: Iterable[str]) -> list[str]:
        """The patterns that find none of the names."""
        listed = list(names)
        return [pattern for pattern, _ in self.patterns if not any(re.search(pattern, name) for name in listed)]

    def by_node(self, graph: gs.Graph) -> dict[str, int | None]:
        """Of every linear layer, and of any other node that a pattern finds."""
        inner_or_last, inner_or_first = after_a_layer(graph), before_a_layer(graph)
        found: dict[str, int | None] = {}
        for node in graph.nodes:
            matched = next((bits for pattern, bits in self.patterns if re.search(pattern, node.name)), None)
            if matched is not None:
                found[node.name] = matched
            elif node.op in HEAVY_OPS:
                first = None if node.name in inner_or_last else self.first
                last = None if node.name in inner_or_first else self.last
                found[node.name] = max((bits for bits in (first, last) if bits is not None), default=self.default)
        return found


def refuse_bits(bits: ActivationBits, backend: Backend) -> None:
    """Raises RecipeError where the backend has no grid of so many bits."""
    schemes = backend.activation
    if schemes.signed.steps is Steps.LOGARITHMIC and bits.all - {schemes.signed.bits}:
        wrong = min(bits.all - {schemes.signed.bits})
        raise RecipeError(
            f"activation_bits: {wrong}; the logarithmic grid of {backend.title} has {schemes.signed.bits} "
            "(--activation-bits)."
        )
    if WIDE in bits.all and backend.wide is None:
        raise RecipeError(
            f"activation_bits: {WIDE}; {backend.title} takes no activations of {WIDE} bits, only 2 to {STORED} "
            "(--activation-bits)."
        )


def with_bits(graph: gs.Graph, plan: Plan, backend: Backend, bits: ActivationBits) -> Plan:
    """The plan with activations of so many bits. Raises RecipeError where the backend has none such."""
    refuse_bits(bits, backend)
    by_node = bits.by_node(graph)
    tensors = graph.tensors()
    asked: dict[str, list[int | None]] = {}
    for entry in plan.activations.values():
        names = {name for name, _ in entry.wanted}
        if entry.everyone:
            names |= {node.name for node, _ in readers(tensors[entry.tensor])}
        asked.setdefault(entry.grid, []).extend(by_node[name] for name in names if name in by_node)
    rest = None if bits.default is None else max(bits.default, STORED)

    def chosen(entry: Activation) -> ActivationSchemes:
        own = entry.schemes.signed.bits
        found = [own if each is None else each for each in asked[entry.grid]] or [rest or own]
        return at_bits(entry.schemes, backend, max(found))

    activations = {name: replace(entry, schemes=chosen(entry)) for name, entry in plan.activations.items()}
    return replace(plan, activations=activations)


def at_bits(schemes: ActivationSchemes, backend: Backend, bits: int) -> ActivationSchemes:
    """The backend's grids with so many bits."""
    if schemes.signed.bits == bits:
        return schemes
    if bits > STORED and backend.wide is not None:
        return backend.wide
    each = (schemes.non_negative, schemes.signed, schemes.lopsided)
    return ActivationSchemes(*(replace(scheme, bits=bits) for scheme in each))
