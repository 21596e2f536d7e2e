"""One graph that runs well on onnxruntime and on OpenVINO: onnxruntime's own, whose operators OpenVINO knows too.

onnxruntime has integer kernels only between quantizers on both sides, so its graph is the stricter one; OpenVINO runs
it almost as fast as its own. The other way round onnxruntime would compute half of the layers in float.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import onnx

from onnxq.backends import onnxruntime, openvino
from onnxq.backends.backend import Shapes
from onnxq.backends.engine import Engine, Layer, Reading
from onnxq.inputs import Array
from onnxq.passes.keep_axes import KeepAxes


@dataclass(frozen=True)
class _Both:
    """The same graph in both engines, one after the other. The answers are OpenVINO's, which differ more from the
    graph's, because it keeps more precision between the operators it fuses."""

    engines: tuple[Engine, Engine]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        first, second = self.engines
        first.run(feeds)
        return second.run(feeds)

    def read_back(self) -> Reading:
        readings = [engine.read_back() for engine in self.engines]
        layers = tuple(_worse(*pair) for pair in zip(*(reading.layers for reading in readings), strict=True))
        named = " and ".join(reading.engine for reading in readings)
        return Reading(named, layers, sum(reading.conversions for reading in readings))


def _worse(first: Layer, second: Layer) -> Layer:
    """The layer in the engine that does not compute it in integers, if one does not."""
    kept = first if first.precision != "int8" else second
    return replace(kept, detail=f"{first.detail}; {second.detail}")


def _build(model: onnx.ModelProto, shapes: Shapes) -> Engine:
    return _Both((onnxruntime.build(model), openvino.build(model, shapes=shapes)))


BACKEND = replace(
    onnxruntime.BACKEND,
    name="portable",
    title="onnxruntime + OpenVINO",
    modules=("openvino",),
    extra="openvino",
    wide_note=f"{onnxruntime.BACKEND.wide_note}; {openvino.BACKEND.wide_note}",
    quantized_before=openvino.MAXIMA,
    low_bits=openvino.BACKEND.low_bits,  # the stricter of the two
    lowering=(*onnxruntime.BACKEND.lowering, KeepAxes()),
    build=_build,
    lints=(*onnxruntime.BACKEND.lints, *openvino.BACKEND.lints),
)
