"""``compare()``: two models on the same inputs, graphs or engines, and what Polygraphy says of their answers.

onnxq.compare("model.onnx", "model.int8.onnx", data="test.npz", engine="openvino").outputs.rows
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from onnxq.backends.backend import Backend
from onnxq.backends.engine import Engine
from onnxq.build import engine_that_runs
from onnxq.checking.parity import UNLIKE
from onnxq.comparing.first_difference import Difference, first_difference
from onnxq.comparing.inner import Layer, layers
from onnxq.comparing.rows import Gates, Table, table
from onnxq.comparing.score import Score, score
from onnxq.comparing.sides import Feeds, Side, saved_side
from onnxq.cost import macs
from onnxq.errors import DataError, RecipeError
from onnxq.evaluating.feeding import common_inputs, labelled_batches
from onnxq.evaluating.running import backend_to_run
from onnxq.execute import Session
from onnxq.inputs import InputSpec, input_specs
from onnxq.metrics import Metric, Setting, parse_metric
from onnxq.metrics.metric import Counted, counted
from onnxq.metrics.setting import AS_IT_IS
from onnxq.model import ModelLike, read_model
from onnxq.preprocess import Preprocessing
from onnxq.samples import Batch, Data, open_samples
from onnxq.workspace import Progress, silent

SAMPLES = 64


@dataclass(frozen=True)
class Compared:
    """``outputs`` of both, beside each other. ``layers``: of tensors that both graphs have, where that was asked for.
    ``int8_macs``: the share of multiply-accumulates that the engine of the second model computes in INT8, None where
    there is no engine or it does not tell. ``difference``: the first layer at which that engine leaves its own graph,
    looked for where it is far from the first model or loses more than it may. ``score``: of both, where a metric was
    asked for. ``missed``: gates, in words."""

    first: Side
    second: Side
    feeds: tuple[Feeds, ...]
    outputs: Table
    layers: tuple[Layer, ...] | None = None
    int8_macs: float | None = None
    difference: Difference | None = None
    score: Score | None = None
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
            "score": self.score,
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
    metric: str | Metric | None = None,
    max_drop: float | None = None,
    every_layer: bool = False,
    progress: Progress = silent,
) -> Compared:
    """The answers of ``second`` beside those of ``first``: models, or ``.json`` files of saved outputs.

    Graphs are computed node by node by onnxruntime, as they are written; with ``engine`` the second is built by that
    backend. ``count`` samples (64 by default, all with a ``metric``) of ``data``, which are random without, are run
    ``batch`` at a time (64 by default). ``metric``: as for ``evaluate``; ``max_drop``: what the second may have less of
    it. ``every_layer``: inner tensors are compared too, of the graphs.

    Raises ModelError, DataError, RecipeError, EngineMissing or EngineError.
    """
    models = [None if _saved(entry) else read_model(entry) for entry in (first, second)]
    if (engine is not None or min_int8 is not None) and models[1] is None:
        raise RecipeError(
            f"{second}: are saved outputs; only a model can be built by an engine (--engine, --min-int8)."
        )
    backend = None if engine is None else backend_to_run(engine)
    if min_int8 is not None and backend is None:
        raise RecipeError("--min-int8 wants the engine that is to run in INT8: give --engine.")
    if every_layer and None in models:
        raise RecipeError("--layers compares two models; saved outputs have no layers.")
    if metric is None and max_drop is not None:
        raise RecipeError("--max-drop wants what may drop: give --metric, or a card that has one.")
    specs = _inputs(models)
    if metric is not None and specs is None:
        raise RecipeError("--metric wants a model: what answers saved outputs are to, and their labels, is not known.")
    setting = Setting("--metric", Path(), {e.name: e.shape for e in specs or ()}, preprocessing or AS_IT_IS)
    measure = None if metric is None else _metric(metric, setting)
    count = count or (SAMPLES if measure is None else None)
    parts = () if specs is None else _parts(models, specs, data, batch or SAMPLES, count, preprocessing, seed, measure)
    feeds = tuple(part.feeds for part in parts)
    a = _side(first, models[0], None, parts, progress)
    built, share = None, None
    if backend is not None and models[1] is not None:
        built, reading = engine_that_runs(backend, models[1], feeds[0])
        share = reading.int8_share(macs(models[1], {name: array.shape for name, array in feeds[0].items()}))
    b = _side(second, models[1], built, parts, progress, backend)
    found = table(a, b, gates)
    values = None if measure is None else score(measure, a, b, parts)
    missed = [f"{row.output}: {said}" for row in found.rows for said in row.missed]
    if values is not None and max_drop is not None:
        missed += filter(None, [values.missed(max_drop)])
    lost = bool(missed) or any(_far(row.sqnr_db) for row in found.rows)
    if min_int8 is not None and (share is None or share < min_int8):
        said = "how much is INT8 is not known" if share is None else f"{100 * share:.1f} % of the MACs are INT8"
        missed.append(f"{said}; {100 * min_int8:g} % wanted (--min-int8)")
    inner = None
    if every_layer and models[0] is not None and models[1] is not None:
        inner = layers(models[0], models[1], feeds)
    difference = None
    if backend is not None and models[1] is not None and lost:
        progress("look for the first difference", 0, None)
        difference = first_difference(models[1], backend, feeds[0])
    return Compared(a, b, feeds, found, inner, share, difference, values, tuple(missed))


def _far(sqnr_db: float | None) -> bool:
    return sqnr_db is not None and not sqnr_db >= UNLIKE


def _saved(entry: ModelLike) -> bool:
    return isinstance(entry, (str, Path)) and Path(entry).suffix == ".json"


def _metric(asked: str | Metric, setting: Setting) -> Counted[Any]:
    return parse_metric(asked, setting) if isinstance(asked, str) else counted(asked)


def _inputs(models: Sequence[onnx.ModelProto | None]) -> tuple[InputSpec, ...] | None:
    """Of the models; None where both answered already."""
    given = {name: input_specs(model) for name, model in zip("AB", models, strict=True) if model is not None}
    return common_inputs(given) if given else None


def _parts(
    models: Sequence[onnx.ModelProto | None],
    inputs: tuple[InputSpec, ...],
    data: Data | None,
    batch: int,
    count: int | None,
    preprocessing: Preprocessing | None,
    seed: int,
    metric: Counted[Any] | None,
) -> tuple[Batch, ...]:
    """The batches that both are fed."""
    if None in models and data is None:
        raise DataError(
            "saved outputs are answers to the inputs they were saved with: give these (--data inputs.json)."
        )
    source = "random" if data is None else data
    samples = open_samples(source, inputs, preprocessing=preprocessing, limit=count, seed=seed)
    size = batch if samples.count is None else min(batch, samples.count)
    return tuple(labelled_batches(samples, [] if metric is None else [metric], size))


def _side(
    entry: ModelLike,
    model: onnx.ModelProto | None,
    engine: Engine | None,
    parts: Sequence[Batch],
    progress: Progress,
    backend: Backend | None = None,
) -> Side:
    if model is None:
        assert isinstance(entry, (str, Path))
        return saved_side(Path(entry))
    name = Path(entry).name if isinstance(entry, (str, Path)) else model.graph.name or "the model"
    run = Session(model, optimize=False).run if engine is None else engine.run
    title = name if backend is None or engine is None else f"{name} on {backend.title}"
    iterations = []
    for done, part in enumerate(parts):
        progress(f"run {title}", done, len(parts))
        iterations.append(run(part.feeds))  # whole, as Polygraphy would have it: what fills a batch up is in the feeds
    progress(f"run {title}", len(parts), len(parts))
    return Side(title, tuple(iterations))
