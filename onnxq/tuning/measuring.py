"""The accuracy of a graph where it will run: one metric, on the backend's engine, against that of the float model."""

from dataclasses import dataclass

import onnx

from onnxq.backends.backend import Backend
from onnxq.backends.engine import Reading
from onnxq.build import engine_that_runs
from onnxq.cost import macs
from onnxq.errors import EngineError, EngineMissing, RecipeError
from onnxq.evaluating.evaluate import evaluate
from onnxq.evaluating.running import SIMULATION
from onnxq.metrics import Metric
from onnxq.result import BackendResult
from onnxq.samples import Samples


@dataclass(frozen=True)
class Measure:
    """``fp32``: what the float model reaches on onnxruntime; ``reference``: that model, where the metric compares with
    its answers; ``not_deployed``: why the graph is computed node by node and no engine runs it, or empty."""

    metric: str | Metric
    tests: Samples
    engine: str
    batch: int
    name: str
    unit: str
    fp32: float
    reference: onnx.ModelProto | None
    not_deployed: str

    def __call__(self, result: BackendResult) -> tuple[float, float | None]:
        """The value, and the share of multiply-accumulates in INT8, as the engine says or as planned. Raises
        EngineError where the engine refuses the graph."""
        model = result.runs if self.engine == SIMULATION else result.model
        row = evaluate(
            [model],
            self.tests,
            metric=self.metric,
            engines=self.engine,
            reference=self.reference,
            preprocessing=self.tests.preprocessing,
            batch=self.batch,
        ).rows[-1]
        if row.problem is not None or row.values[0].value is None:
            raise EngineError(row.problem or f"{self.name} has no value")
        return row.values[0].value, self._share(result, row.reading)

    def _share(self, result: BackendResult, reading: Reading | None) -> float | None:
        feeds = next(iter(self.tests.batches(1))).feeds
        work = macs(result.model, {name: array.shape for name, array in feeds.items()})
        if reading is not None:
            return reading.int8_share(work)
        planned, total = result.plan.integer & result.plan.nodes, sum(work.values())
        return sum(work.get(name, 0) for name in planned) / total if total else None


def measure_of(
    source: onnx.ModelProto,
    metric: str | Metric,
    tests: Samples,
    backend: Backend,
    batch: int,
    *,
    deployed: bool,
) -> Measure:
    """With the FP32 value measured. Raises RecipeError for a metric that no points can be lost of, EngineMissing, and
    DataError where samples lack labels."""
    why = "" if deployed else "engines are not built (--no-build)"
    why = why or _not_here(source, backend, tests)
    engine = SIMULATION if why else backend.name
    found = evaluate(
        [source],
        tests,
        metric=metric,
        reference=source,
        preprocessing=tests.preprocessing,
        batch=batch,
    )
    value = found.rows[-1].values[0]
    if value.value is None:
        raise EngineError(found.rows[-1].problem or f"{value.metric} has no value on the float model")
    if value.compares and value.unit != "%":
        raise RecipeError(
            f"metric {value.metric}: FP32 has no value of it that points could be lost of. Measure agreement, or with "
            "labels (--metric, metric=)."
        )
    reference = source if value.compares else None
    return Measure(metric, tests, engine, batch, value.metric, value.unit, value.value, reference, why)


def _not_here(source: onnx.ModelProto, backend: Backend, tests: Samples) -> str:
    """Why no engine runs here, in words."""
    if backend.simulated:
        return f"{backend.title} is simulated: there is no engine of it"
    try:
        engine_that_runs(backend, source, next(iter(tests.batches(1))).feeds)
    except EngineMissing:
        raise
    except EngineError as error:
        return str(error)
    return ""
