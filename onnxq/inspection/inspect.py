"""``inspect()``: what can be told of a model before any data is given, with no engine installed.

    onnxq.inspect("model.onnx").plans["openvino"].int8_macs

Its contents as they are, the plan of a recipe for every backend, and how its weights spread over their channels once
batch norms and scales are folded into them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onnxq.begin import Backends, backends_of, from_card, written_recipe
from onnxq.cost import Shape
from onnxq.errors import ModelError
from onnxq.inputs import input_specs
from onnxq.inspection.contents import Contents, contents
from onnxq.inspection.planned import Planned, begun, left_out, planned, prepare
from onnxq.inspection.sample_shapes import sample_shapes
from onnxq.inspection.weight_spread import WeightSpread, weight_spreads
from onnxq.ledger import Entry
from onnxq.model import ModelLike, load_model, read_model
from onnxq.models.card import Card
from onnxq.options import Options
from onnxq.recipe import Recipe

ENGINES = ("onnxruntime", "openvino", "tensorrt")


@dataclass(frozen=True)
class Inspected:
    """``plans`` by backend. ``waiting``: rewrites of the recipe that look at samples, and so were left out. ``notes``:
    what rewrites declined for all backends. ``weights``: widest spread of channels first. ``problem``: why there are
    no plans and no weights, as of a model that is quantized already."""

    model: str
    contents: Contents
    plans: Mapping[str, Planned]
    waiting: tuple[str, ...]
    notes: tuple[Entry, ...]
    weights: tuple[WeightSpread, ...]
    problem: str | None = None


def inspect(
    model: ModelLike | Card,
    *,
    backend: Backends | None = None,
    recipe: str | Path | Mapping[str, object] | Recipe | None = None,
    shapes: Mapping[str, Shape] | None = None,
) -> Inspected:
    """Inspect one model, for ``backend``, those the recipe names, or the three engines. ``shapes`` by input, for sizes
    that the model leaves free: work is counted for them.

    Raises ModelError for what is no model, RecipeError for a recipe, a backend or a shape that there is none of.
    """
    said = model.name if isinstance(model, Card) else str(model) if isinstance(model, str | Path) else "model"
    if isinstance(model, Card):
        _, recipe, _ = from_card(model, None, recipe, Options())
        model = model.model_path
    written = written_recipe(recipe, Options())
    backends = backends_of(backend or written.backends or ENGINES)
    waiting = left_out(backends, written)
    proto = read_model(model, large=True)
    fed = sample_shapes(input_specs(proto), dict(shapes or {}))
    try:
        base = begun(load_model(model), backends)
    except ModelError as error:
        return Inspected(said, contents(proto, fed), {}, waiting, (), (), str(error))
    held = contents(proto, fed, base.lean().model)
    prepare(base, written)
    plans = {entry.name: planned(base, entry, written, fed) for entry in backends}
    notes = tuple(entry for entry in base.ledger.entries if entry.kind in ("declined", "warning"))
    return Inspected(said, held, plans, waiting, notes, weight_spreads(base.graph))
