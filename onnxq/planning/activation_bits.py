"""How many bits the activations of a plan get.

Bits are asked for layer by layer, since what they are spent on are products: a tensor has as many as the linear layer
that asks for most of those that read it. What no linear layer reads (what is summed up, or pooled, or leaves the model)
has 8, or as many as the layers where these have more: nothing is multiplied there that narrow integers would speed up.
"""

import re
from collections.abc import Collection, Mapping
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
ENDS = ("first", "last")

Bits = int | Mapping[str, int]
"""As it is written: a number, or one for ``default``, ``first``, ``last`` and regular expressions."""


@dataclass(frozen=True)
class ActivationBits:
    """``fixed``: bits by ``first``, ``last`` (layers of the graph) or a regular expression searched in names of nodes,
    of which the first that fits a layer counts; ``default``: of all other layers, None as the backend has it."""

    fixed: tuple[tuple[str, int], ...] = ()
    default: int | None = None

    @staticmethod
    def of(written: Bits) -> "ActivationBits":
        """Raises RecipeError."""
        entries = written if isinstance(written, Mapping) else {"default": written}
        for name, bits in entries.items():
            if isinstance(bits, bool) or bits not in SENSIBLE:
                where = "" if name == "default" else f"{name!r} is "
                raise RecipeError(f"activation_bits: {where}{bits}, not 2 to 8, or 16 (--activation-bits).")
        fixed = tuple((name, bits) for name, bits in entries.items() if name != "default")
        for name, _ in fixed:
            try:
                re.compile(name)
            except re.error as error:
                raise RecipeError(f"activation_bits: {name!r} is not a regular expression: {error}") from error
        return ActivationBits(fixed, entries.get("default"))

    @property
    def all(self) -> frozenset[int]:
        """Every number of bits that is named."""
        return frozenset(bits for bits in (self.default, *(bits for _, bits in self.fixed)) if bits is not None)

    def idle(self, names: Collection[str]) -> list[str]:
        """The regular expressions that find none of the names."""
        patterns = [key for key, _ in self.fixed if key not in ENDS]
        return [pattern for pattern in patterns if not any(re.search(pattern, name) for name in names)]

    def by_node(self, graph: gs.Graph) -> dict[str, int | None]:
        """Of every linear layer, and of any other node that a regular expression finds."""
        layers = {node.name for node in graph.nodes if node.op in HEAVY_OPS}
        ends = {"first": layers - after_a_layer(graph), "last": layers - before_a_layer(graph)}
        found: dict[str, int | None] = dict.fromkeys(layers, self.default)
        for key, bits in reversed(self.fixed):
            names = ends[key] if key in ENDS else (n.name for n in graph.nodes if re.search(key, n.name))
            found.update(dict.fromkeys(names, bits))
        return found


def read_bits(text: str) -> Bits:
    """``4``, or ``4,first=8,last=8``, as a command line has it. Raises RecipeError."""
    found: dict[str, int] = {}
    for entry in text.split(","):
        key, _, value = entry.rpartition("=")
        key = key.strip() or "default"
        if key in found:
            raise RecipeError(f"--activation-bits: {text!r} says {key!r} twice.")
        try:
            found[key] = int(value)
        except ValueError:
            raise RecipeError(
                f"--activation-bits: {entry.strip()!r} is no number of bits. Give 4, or 4,first=8,last=8; a regular "
                "expression with a comma in it needs a recipe."
            ) from None
    return found["default"] if found.keys() == {"default"} else found


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


def at_bits(schemes: ActivationSchemes, backend: Backend, bits: int | None) -> ActivationSchemes:
    """The backend's grids with so many bits; None leaves them as they are."""
    if bits is None or bits == schemes.signed.bits:
        return schemes
    if bits > STORED and backend.wide is not None:
        return backend.wide
    each = (schemes.non_negative, schemes.signed, schemes.lopsided)
    return ActivationSchemes(*(replace(scheme, bits=bits) for scheme in each))
