"""How many bits the activations of a plan get.

Bits are asked for layer by layer, since what they are spent on are products: a tensor has as many as the linear layer
that asks for most of those that read it. What no linear layer reads (what is summed up, or pooled, or leaves the model)
has 8, or as many as the layers where these have more: nothing is multiplied there that narrow integers would speed up.
"""

from dataclasses import replace

import onnx_graphsurgeon as gs

from onnxq.backends.backend import Backend
from onnxq.errors import RecipeError
from onnxq.graph import HEAVY_OPS, readers
from onnxq.plan import Activation, Plan
from onnxq.scheme import ActivationSchemes, Steps
from onnxq.solving.ends import first_layers, last_layers
from onnxq.solving.widths import ALL, Bits, Widths

STORED = 8  # bits: what narrower grids are stored in
WIDE = 16
SENSIBLE = (*ALL, WIDE)


def activation_widths(bits: Bits | None) -> Widths:
    """The bits of what layers read, as a recipe has them. Raises RecipeError."""
    try:
        widths = Widths.of(bits, SENSIBLE)
    except RecipeError as error:
        raise RecipeError(f"activation_{str(error).removesuffix('.')} (--activation-bits).") from error
    if widths.budget is not None:
        raise RecipeError("activation_bits: a budget is for weights alone (--activation-bits). Say bits by layer.")
    return widths


def refuse_bits(widths: Widths, backend: Backend) -> None:
    """Raises RecipeError where the backend has no grid of so many bits."""
    named = {widths.default, *(bits for _, bits in widths.fixed)} - {None}
    own = backend.activation.signed
    if own.steps is Steps.LOGARITHMIC and named - {own.bits}:
        raise RecipeError(
            f"activation_bits: the logarithmic grid of {backend.title} has {own.bits}, no others (--activation-bits)."
        )
    if WIDE in named and backend.wide is None:
        raise RecipeError(
            f"activation_bits: {WIDE}; {backend.title} takes no activations of {WIDE} bits, only 2 to {STORED} "
            "(--activation-bits)."
        )


def with_bits(graph: gs.Graph, plan: Plan, backend: Backend, widths: Widths) -> Plan:
    """The plan with activations of so many bits. Raises RecipeError where the backend has none such."""
    refuse_bits(widths, backend)
    by_node = _by_node(graph, widths)
    tensors = graph.tensors()
    asked: dict[str, list[int | None]] = {}
    for entry in plan.activations.values():
        names = {name for name, _ in entry.wanted}
        if entry.everyone:
            names |= {node.name for node, _ in readers(tensors[entry.tensor])}
        asked.setdefault(entry.grid, []).extend(by_node[name] for name in names if name in by_node)
    rest = None if widths.default is None else max(widths.default, STORED)

    def chosen(entry: Activation) -> ActivationSchemes:
        own = entry.schemes.signed.bits
        found = [own if each is None else each for each in asked[entry.grid]] or [rest or own]
        return at_bits(entry.schemes, backend, max(found))

    activations = {name: replace(entry, schemes=chosen(entry)) for name, entry in plan.activations.items()}
    return replace(plan, activations=activations)


def _by_node(graph: gs.Graph, widths: Widths) -> dict[str, int | None]:
    """Of every linear layer, and of any other node that a regular expression finds."""
    layers = {node.name for node in graph.nodes if node.op in HEAVY_OPS}
    ends = {"first": first_layers(graph, layers), "last": last_layers(graph, layers)}
    found: dict[str, int | None] = {}
    for node in graph.nodes:
        fixed = widths.fitting([node.name], ends)
        if fixed or node.name in layers:
            found[node.name] = fixed[0][1] if fixed else widths.default
    return found


def at_bits(schemes: ActivationSchemes, backend: Backend, bits: int | None) -> ActivationSchemes:
    """The backend's grids with so many bits; None leaves them as they are."""
    if bits is None or bits == schemes.signed.bits:
        return schemes
    if bits > STORED and backend.wide is not None:
        return backend.wide
    each = (schemes.non_negative, schemes.signed, schemes.lopsided)
    return ActivationSchemes(*(replace(scheme, bits=bits) for scheme in each))
