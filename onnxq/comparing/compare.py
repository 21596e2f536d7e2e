"""``compare()``: two models on the same inputs, graphs or engines, and what Polygraphy says of their answers.

onnxq.compare("model.onnx", "model.int8.onnx", data="test.npz", engine="openvino").outputs.rows
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from onnxq.backends import backend_of, require
from onnxq.backends.engine import Engine
from onnxq.build import fixed_shapes
from onnxq.comparing.first_difference import UNLIKE, Difference, first_difference
from onnxq.comparing.inner import Layer, layers
from onnxq.comparing.rows import Gates, Table, table
from onnxq.comparing.sides import Feeds, Side, saved_side
from onnxq.cost import macs
from onnxq.errors import DataError, EngineError, RecipeError
from onnxq.execute import Session, real_samples
from onnxq.inputs import batch_axis, input_specs
from onnxq.model import ModelLike, read_model
from onnxq.preprocess import Preprocessing
from onnxq.samples import Batch, Data, open_samples
from onnxq.workspace import Progress, silent

SAMPLES = 64


@dataclass(frozen=True)
class Compared:
    """``outputs`` of both, beside each other. ``layers``: of tensors that both graphs have, where that was asked for.
    ``int8_macs``: the share of multiply-accumulates that the engine of the second model computes in INT8, None where
    there is no engine or it does not tell. ``difference``: the first layer at which that engine is far from its own
    graph, where it is. ``missed``: gates, in words."""

    first: Side
    second: Side
    feeds: tuple[Feeds, ...]
    outputs: Table
    layers: tuple[Layer, ...] | None = None
    int8_macs: float | None = None
    difference: Difference | None = None
    missed: tuple[str, ...] = ()

    @property
    def facts(self) -> Mapping[str, object]:
        """All of it but the arrays."""
        return {
            "a": self.first.name,
            "b": self.second.name,
            "runs": len(self.first.iterations),
            "outputs": self.outputs.rows,
            "left_out": self.outputs.left_out,
            "layers": self.layers,
            "int8_macs": self.int8_macs,
            "difference": self.difference,
            "missed": self.missed,
        }


def compare(
    first: ModelLike,
    second: ModelLike,
    *,
    data: Data | None = None,
    engine: str | None = None,
    batch: int | None = None,
    count: int | None = None,
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
    gates: Gates = Gates(),  # noqa: B008 - frozen
    min_int8: float | None = None,
    every_layer: bool = False,
    progress: Progress = silent,
) -> Compared:
    """The answers of ``second`` beside those of ``first``: models, or ``.json`` files of saved outputs.

    Graphs are computed node by node by onnxruntime, as they are written; with ``engine`` the second is built by that
    backend. ``count`` samples (64 by default) of ``data``, which are random without, are run ``batch`` at a time
    (all at once by default, 64 at most). ``every_layer``: inner tensors are compared too, of the graphs.

    Raises ModelError, DataError, RecipeError, EngineMissing or EngineError.
    """
    models = [None if _saved(entry) else read_model(entry) for entry in (first, second)]
    if (engine is not None or min_int8 is not None) and models[1] is None:
        raise RecipeError(
            f"{second}: are saved outputs; only a model can be built by an engine (--engine, --min-int8)."
        )
    if min_int8 is not None and engine is None:
        raise RecipeError("--min-int8 wants the engine that is to run in INT8: give --engine.")
    if every_layer and None in models:
        raise RecipeError("--layers compares two models; saved outputs have no layers.")
    parts = _parts(models, data, batch, count, preprocessing, seed)
    feeds = tuple(part.feeds for part in parts)
    a = _side(first, models[0], None, parts, progress)
    built = None if engine is None or models[1] is None else _engine(models[1], engine, feeds[0])
    b = _side(second, models[1], built, parts, progress, engine)
    found = table(a, b, gates)
    missed = [f"{row.output}: {said}" for row in found.rows for said in row.missed]
    share = None if built is None or models[1] is None else _int8_macs(models[1], built, feeds[0])
    if min_int8 is not None and (share is None or share < min_int8):
        said = "how much is INT8 is not known" if share is None else f"{100 * share:.1f} % of the MACs are INT8"
        missed.append(f"{said}; {100 * min_int8:g} % wanted (--min-int8)")
    inner = None
    if every_layer and models[0] is not None and models[1] is not None:
        inner = layers(models[0], models[1], feeds)
    difference = None
    if engine is not None and models[1] is not None and any(_far(row.sqnr_db) for row in found.rows):
        progress("look for the first difference", 0, None)
        difference = first_difference(models[1], backend_of(engine), feeds[0])
    return Compared(a, b, feeds, found, inner, share, difference, tuple(missed))


def _far(sqnr_db: float | None) -> bool:
    return sqnr_db is not None and not sqnr_db >= UNLIKE


def _saved(entry: ModelLike) -> bool:
    return isinstance(entry, (str, Path)) and Path(entry).suffix == ".json"


def _parts(
    models: Sequence[onnx.ModelProto | None],
    data: Data | None,
    batch: int | None,
    count: int | None,
    preprocessing: Preprocessing | None,
    seed: int,
) -> tuple[Batch, ...]:
    """The batches that both are fed; none where both answered already."""
    given = [input_specs(model) for model in models if model is not None]
    if not given:
        return ()
    if None in models and data is None:
        raise DataError(
            "saved outputs are answers to the inputs they were saved with: give these (--data inputs.json)."
        )
    if len(given) == 2 and {(e.name, str(e.dtype)) for e in given[0]} != {(e.name, str(e.dtype)) for e in given[1]}:
        names = [", ".join(f"{e.name} {e.dtype}" for e in inputs) for inputs in given]
        raise DataError(f"the models have other inputs: {names[0]} and {names[1]}.")
    # Of two models the one of fixed batch size says what both are fed.
    inputs = min(given, key=lambda specs: batch_axis(specs).fixed is None)
    limit = SAMPLES if count is None else count
    source = "random" if data is None else data
    samples = open_samples(source, inputs, preprocessing=preprocessing, limit=limit, seed=seed)
    return tuple(samples.batches(batch or limit))


def _side(
    entry: ModelLike,
    model: onnx.ModelProto | None,
    engine: Engine | None,
    parts: Sequence[Batch],
    progress: Progress,
    backend: str | None = None,
) -> Side:
    if model is None:
        assert isinstance(entry, (str, Path))
        return saved_side(Path(entry))
    name = Path(entry).name if isinstance(entry, (str, Path)) else model.graph.name or "the model"
    run = Session(model, optimize=False).run if engine is None else engine.run
    title = name if backend is None or engine is None else f"{name} on {backend_of(backend).title}"
    iterations = []
    for done, part in enumerate(parts):
        progress(f"run {title}", done, len(parts))
        iterations.append({key: real_samples(array, part) for key, array in run(part.feeds).items()})
    progress(f"run {title}", len(parts), len(parts))
    return Side(title, tuple(iterations))


def _engine(model: onnx.ModelProto, name: str, feeds: Feeds) -> Engine:
    target = backend_of(name)
    if target.simulated:
        raise RecipeError(f"{target.title} is simulated: onnxq has no engine of it, so none can be compared.")
    require(target)
    engine = target.engine(model, fixed_shapes(target, feeds, input_specs(model)))
    if not engine.read_back().executed:
        raise EngineError(
            f"{target.title}: the engine was compiled for a device that is not here, so it has no answers."
        )
    return engine


def _int8_macs(model: onnx.ModelProto, engine: Engine, feeds: Feeds) -> float | None:
    work: Mapping[str, int] = macs(model, {name: array.shape for name, array in feeds.items()})
    return engine.read_back().int8_share(work)
