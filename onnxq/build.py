"""Build the real engine, read back what it runs in integers, and time it beside the same engine on the FP32 model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx

from onnxq.backends import require
from onnxq.backends.backend import Backend
from onnxq.backends.engine import Engine, Reading
from onnxq.backends.heavy import heavy_nodes
from onnxq.backends.timing import side_by_side
from onnxq.cost import macs
from onnxq.errors import EngineError
from onnxq.inputs import Array, InputSpec, input_specs
from onnxq.outside import outsiders


@dataclass(frozen=True)
class Built:
    """What the engine said. ``int8_nodes`` of ``nodes`` linear layers run in integers, ``int8_macs`` is their share of
    multiply-accumulates (None where shapes are not known, or bodies of If, Loop or Scan do some of the work), ``work``
    is theirs by layer. Seconds are medians per run, None if not executed."""

    reading: Reading
    nodes: int
    int8_nodes: int
    int8_macs: float | None
    fp32_seconds: float | None
    seconds: float | None
    work: Mapping[str, int] = field(default_factory=dict)

    @property
    def speedup(self) -> float | None:
        return self.fp32_seconds / self.seconds if self.fp32_seconds and self.seconds else None


def build(
    backend: Backend,
    source: onnx.ModelProto,
    quantized: onnx.ModelProto,
    feeds: Mapping[str, Array],
    inputs: Sequence[InputSpec],
) -> tuple[Engine, Built]:
    """The engine of ``quantized`` and what it did; ``feeds`` is what it will be fed. Raises EngineError."""
    shapes = {name: array.shape for name, array in feeds.items()}
    fixed = fixed_shapes(backend, feeds, inputs)
    engine = backend.engine(quantized, fixed)
    reading = engine.read_back()
    work = macs(quantized, shapes)
    integer = {layer.node for layer in reading.layers if layer.precision == "int8"}
    times: tuple[float | None, float | None] = (None, None)
    if reading.executed and (beside := _float_engine(backend, source, fixed)) is not None:
        times = side_by_side(beside, engine, feeds)
    share = reading.int8_share(work)
    if any(heavy.inside for heavy in heavy_nodes(quantized)):
        share = None if integer else 0.0  # work in bodies of If, Loop and Scan cannot be counted
    return engine, Built(reading, len(reading.layers), len(integer), share, *times, work)


def engine_that_runs(backend: Backend, model: onnx.ModelProto, feeds: Mapping[str, Array]) -> tuple[Engine, Reading]:
    """The engine for inputs like ``feeds``, and what it did. Raises EngineMissing, and EngineError where it is refused,
    or was compiled for a device that is not here."""
    require(backend)
    engine = backend.engine(model, fixed_shapes(backend, feeds, input_specs(model)))
    reading = engine.read_back()
    if not reading.executed:
        raise EngineError(f"{backend.title}: the engine was compiled for a device that is not here, and cannot run")
    return engine, reading


def _float_engine(backend: Backend, source: onnx.ModelProto, fixed: Mapping[str, tuple[int, ...]]) -> Engine | None:
    """The engine of the FP32 model, None where the engine does not take models over 2 GiB."""
    try:
        return backend.engine(source, fixed)
    except EngineError:
        if outsiders(source):
            return None
        raise


def fixed_shapes(
    backend: Backend, feeds: Mapping[str, Array], inputs: Sequence[InputSpec]
) -> dict[str, tuple[int, ...]]:
    """The shapes an engine is built for: those of ``feeds``, or none where they change from sample to sample.

    A batch axis is fixed to the batch that runs.
    """
    steady = all(isinstance(dim, int) for spec in inputs for dim in spec.shape[1:])
    return {name: array.shape for name, array in feeds.items()} if steady or not backend.opens_shapes else {}
