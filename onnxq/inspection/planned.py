"""What would become integer for a backend, and why the rest would not: the rewrites and the plan of a recipe, as far as
they need no samples. Nor are rewrites proven here, since nothing is run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from onnxq.backends.backend import Backend
from onnxq.cost import macs
from onnxq.errors import DataError, ModelError, RecipeError
from onnxq.graph import HEAVY_OPS, every_node
from onnxq.inputs import Array, input_specs
from onnxq.inspection.sample_shapes import SampleShapes
from onnxq.ledger import Entry
from onnxq.model import to_graph
from onnxq.passes import FoldConstants, PlanIntegers
from onnxq.recipe import Recipe
from onnxq.samples import Samples, open_samples
from onnxq.workspace import FloatRewrite, Pass, SampledRewrite, Workspace


@dataclass(frozen=True)
class StaysFloat:
    """A node that computes in float, and why. ``macs`` of a sample, None where it is no linear layer, or where its
    shapes are not known."""

    node: str
    op: str
    layer: bool
    macs: int | None
    reason: str


@dataclass(frozen=True)
class Planned:
    """One backend's plan. ``layers`` linear layers are in the graph as it is rewritten for it, of which those of the
    names ``integer`` read activations as integers, and with them ``others`` operators that are no linear layers.
    ``int8_macs`` is their share of the multiply-accumulates, None where some are not known. ``one_grid``: layers whose
    weight gets one grid for all channels. ``notes``: what rewrites declined. ``problem``: why nothing would be
    quantized."""

    backend: str
    title: str
    simulated: bool
    layers: int
    integer: tuple[str, ...]
    others: int
    int8_macs: float | None
    floats: tuple[StaysFloat, ...]
    one_grid: tuple[str, ...]
    notes: tuple[Entry, ...]
    problem: str | None


def begun(source: onnx.ModelProto, backends: Sequence[Backend]) -> Workspace:
    """The graph with constants folded, without which few shapes are known."""
    base = Workspace(to_graph(source), source, _no_samples(source), backends[0], beside=tuple(backends[1:]))
    FoldConstants()(base)
    return base


def prepare(base: Workspace, recipe: Recipe) -> None:
    """The rewrites that serve every backend."""
    for step in _shared(recipe):
        if not isinstance(step, SampledRewrite | FoldConstants):
            step(base)


def left_out(backends: Sequence[Backend], recipe: Recipe) -> tuple[str, ...]:
    """Names of the rewrites that wait for samples. They change values, and may add a Mul, Min or Sub, not which layers
    can be integer."""
    every = [*_before_plan(recipe), *(step for backend in backends for step in backend.preparation)]
    return tuple(dict.fromkeys(step.name for step in every if isinstance(step, SampledRewrite)))


def planned(base: Workspace, backend: Backend, recipe: Recipe, shapes: SampleShapes) -> Planned:
    """The plan for one backend of the graph behind ``prepare``, which does not change."""
    space = base.fork(backend)
    own = _before_plan(recipe)[len(_shared(recipe)) :]
    for step in (*backend.preparation, *own):
        if not isinstance(step, SampledRewrite):
            step(space)
    problem = None
    try:
        _plan(recipe)(space)
    except ModelError as error:
        problem = str(error)
    found = macs(space.lean().model, shapes.shapes)
    work = {name: count // shapes.samples for name, count in found.items()}
    return _facts(space, work, problem, frozenset(base.ledger.entries))


def _facts(space: Workspace, work: Mapping[str, int], problem: str | None, known: frozenset[Entry]) -> Planned:
    plan, nodes = space.plan, {node.name: node for node in every_node(space.graph)}
    layers = [node.name for node in space.graph.nodes if node.op in HEAVY_OPS]
    computed = plan.integer - plan.floats.keys()
    integer = tuple(name for name in layers if name in computed)
    total = sum(work.values()) if all(name in work for name in layers) else 0
    floats = (
        StaysFloat(name, nodes[name].op, nodes[name].op in HEAVY_OPS, work.get(name), reason)
        for name, reason in plan.floats.items()
        if name in nodes
    )
    whole = {name for weight in plan.weights if weight.scheme.axis is None for name, _ in weight.readers}
    return Planned(
        space.backend.name,
        space.backend.title,
        space.backend.simulated,
        len(layers),
        integer,
        len(computed) - len(integer),
        sum(work[name] for name in integer) / total if total else None,
        tuple(sorted(floats, key=lambda entry: (not entry.layer, -(entry.macs or 0)))),
        tuple(name for name in layers if name in whole),
        tuple(entry for entry in space.ledger.entries if entry.kind in ("declined", "warning") and entry not in known),
        problem,
    )


def _before_plan(recipe: Recipe) -> list[Pass]:
    """Raises RecipeError where the recipe plans nothing."""
    at = next((i for i, step in enumerate(recipe.passes) if isinstance(step, PlanIntegers)), None)
    if at is None:
        raise RecipeError("recipe: it has no pass 'plan', so there is nothing to tell of it. Add one.")
    return [step for step in recipe.passes[:at] if isinstance(step, FloatRewrite)]


def _shared(recipe: Recipe) -> list[Pass]:
    """Rewrites at the start serve every backend."""
    found: list[Pass] = []
    for step in recipe.passes:
        if not isinstance(step, FloatRewrite):
            break
        found.append(step)
    return found


def _plan(recipe: Recipe) -> PlanIntegers:
    return next(step for step in recipe.passes if isinstance(step, PlanIntegers))


def _no_samples(source: onnx.ModelProto) -> Samples:
    """For passes of others, which may ask."""

    def refuse() -> list[dict[str, Array]]:
        raise DataError("a pass of the recipe looks at samples, and there are none. Leave it out of the recipe.")

    return open_samples(refuse, input_specs(source))
