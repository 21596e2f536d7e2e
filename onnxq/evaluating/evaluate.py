"""``evaluate()``: the same metric for the FP32 model, the quantized graph and the engines that run it.

onnxq.evaluate(["model.onnx", "model.int8.onnx"], "test.npz", metric="top1", engines=("simulation", "openvino"))
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from onnxq.backends.backend import Backend
from onnxq.backends.engine import Reading
from onnxq.errors import DataError, RecipeError
from onnxq.evaluating.feeding import common_inputs, labelled_batches
from onnxq.evaluating.running import Running, backend_to_run
from onnxq.inputs import batch_axis, input_specs
from onnxq.metrics import METRICS, Metric, metric_of, parse_metric
from onnxq.metrics.metric import Counted, Known, counted
from onnxq.metrics.setting import AS_IT_IS, Setting
from onnxq.model import ModelLike, is_quantized, read_model
from onnxq.models.card import Card
from onnxq.preprocess import Preprocessing
from onnxq.samples import Data, Samples, open_samples
from onnxq.workspace import Progress, silent


@dataclass(frozen=True)
class Value:
    """A metric's number, and how much less it is than in the first row; None where there is nothing to tell.

    ``compares``: it is measured against the first row, not against labels.
    """

    metric: str
    unit: str
    compares: bool
    value: float | None
    lost: float | None


@dataclass(frozen=True)
class Row:
    """One model on one engine. ``deployed``: a real engine ran it; otherwise the graph was computed node by node.

    ``seconds`` are those of all runs together, not of building. ``problem`` says why there are no values.
    """

    model: str
    engine: str
    quantized: bool
    deployed: bool
    reading: Reading | None
    values: tuple[Value, ...]
    samples: int
    seconds: float
    problem: str | None


@dataclass(frozen=True)
class Evaluated:
    """All rows; the first is what the others lost against, and what metrics without labels compare with."""

    data: str
    batch: int
    rows: tuple[Row, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Why rows have no values, in words."""
        return tuple(f"{row.model} on {row.engine}: {row.problem}" for row in self.rows if row.problem is not None)


def evaluate(
    models: ModelLike | Card | Sequence[ModelLike | Card],
    data: Data | None = None,
    *,
    metric: str | Metric | Sequence[str | Metric] | None = None,
    engines: str | Sequence[str] = ("onnxruntime",),
    reference: ModelLike | None = None,
    preprocessing: Preprocessing | None = None,
    batch: int = 1,
    samples: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Evaluated:
    """Measure every model on every engine, on the same samples.

    A card as the first model brings ``data`` (its test data), ``metric`` and ``preprocessing`` unless they are given.
    ``metric`` is ``NAME,option=value`` (docs/evaluate.md), ``script.py:function``, or an object with ``measure``.
    ``engines`` are ``onnxruntime``, ``openvino``, ``tensorrt`` or ``simulation``. A ``reference`` runs on onnxruntime
    and is the first row. ``samples`` keeps the first ones only; a last batch that is short is filled up.

    Raises ModelError, DataError, RecipeError or EngineMissing; what an engine refuses is in the result.
    """
    given = list(models) if isinstance(models, Sequence) and not isinstance(models, str) else [models]
    card = given[0] if given and isinstance(given[0], Card) else None
    columns = _columns(given, [engines] if isinstance(engines, str) else engines, reference)
    data = card.test_path if data is None and card is not None else data
    if data is None:
        raise DataError("no samples. Give --data FILE (data=) with labels, or a model card that has test data.")
    inputs = common_inputs({column.said: input_specs(column.model) for column in columns})
    steps = preprocessing or (card.preprocessing if card is not None else None)
    setting = Setting("--metric (metric=)", Path(), {spec.name: spec.shape for spec in inputs}, steps or AS_IT_IS)
    metrics = _metrics(metric, card, setting)
    if len(columns) == 1 and (alone := [each.name for each in metrics if each.compares]):
        raise RecipeError(
            f"metric {alone[0]} compares with a reference, and there is one model on one engine. Give --reference "
            "FP32.onnx (reference=), or a second model or engine."
        )
    opened = open_samples(data, inputs, preprocessing=steps, limit=samples, seed=seed)
    runs = [Running(column.model, column.backend, inputs) for column in columns]
    _run(runs, metrics, opened, batch, progress)
    first = runs[0].totals(metrics)
    rows = (_row(column, run, metrics, first) for column, run in zip(columns, runs, strict=True))
    return Evaluated(opened.description, batch_axis(inputs).fixed or batch, tuple(rows))


@dataclass(frozen=True)
class _Column:
    """A model, what it is called, and the engine it is to run on."""

    said: str
    model: onnx.ModelProto
    engine: str
    backend: Backend | None


def _columns(models: Sequence[ModelLike | Card], engines: Sequence[str], reference: ModelLike | None) -> list[_Column]:
    """The reference first, then every model on every engine. What is missing is said now."""
    asked = {name: backend_to_run(name) for name in engines}
    if not models or not asked:
        raise RecipeError("nothing to evaluate: give a model and an engine (--engine).")
    found = []
    if reference is not None:
        said = str(reference) if isinstance(reference, str | Path) else "reference"
        found.append(_Column(said, read_model(reference), "onnxruntime", backend_to_run("onnxruntime")))
    for index, model in enumerate(models):
        said = model.name if isinstance(model, Card) else f"model {index + 1}"
        said = str(model) if isinstance(model, str | Path) else said
        proto = read_model(model.model_path if isinstance(model, Card) else model)
        found += [_Column(said, proto, name, backend) for name, backend in asked.items()]
    return found


def _metrics(
    asked: str | Metric | Sequence[str | Metric] | None, card: Card | None, setting: Setting
) -> list[Counted[Any]]:
    if asked is None and card is not None and (own := metric_of(card, setting.preprocessing)) is not None:
        return [counted(own)]
    if asked is None:
        raise RecipeError(f"no metric. Give --metric (metric=): {', '.join(METRICS)} or script.py:function.")
    every = asked if isinstance(asked, Sequence) and not isinstance(asked, str) else [asked]
    return [parse_metric(each, setting) if isinstance(each, str) else counted(each) for each in every]


def _run(
    runs: Sequence[Running], metrics: Sequence[Counted[Any]], samples: Samples, batch: int, progress: Progress
) -> None:
    """All models side by side, a batch at a time: samples are read once, and no outputs are held."""
    compares, done = any(metric.compares for metric in metrics), 0
    for part in labelled_batches(samples, metrics, batch):
        progress("evaluate", done, samples.count)
        first = None
        for run in runs:
            outputs = run.ask(part)
            if run is runs[0] and compares:
                first = outputs
            if outputs is not None:
                run.keep(metrics, outputs, Known(part.count, part.labels, first))
        done += part.count
    progress("evaluate", done, done)
    if runs[0].problem is not None:
        for run in runs:
            run.forget(metrics)


def _row(column: _Column, run: Running, metrics: Sequence[Counted[Any]], first: Sequence[float | None]) -> Row:
    values = []
    for metric, value, before in zip(metrics, run.totals(metrics), first, strict=True):
        lost = None if metric.compares or value is None or before is None else before - value
        values.append(Value(metric.name, metric.unit, metric.compares, value, lost))
    return Row(
        column.said,
        column.engine,
        is_quantized(column.model),
        column.backend is not None,
        run.reading,
        tuple(values),
        run.samples,
        run.seconds,
        run.problem,
    )
