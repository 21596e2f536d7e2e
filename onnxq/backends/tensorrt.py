"""The door to TensorRT: run it where there is a GPU, or compile with TensorRT-RTX where there is none.

Precision lies in the graph: networks are strongly typed, so Q/DQ decide what is INT8 and casts what is FP16.
"""

import ctypes
import importlib
import sys
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from onnxq.backends.backend import Backend, LeastSize, LowBits, Reads, Rule, Shapes
from onnxq.backends.engine import Engine, Reading
from onnxq.backends.tensorrt_compile import Compiled, compile_for_batches
from onnxq.backends.tensorrt_layers import (
    EngineLayer,
    count_conversions,
    parse_json,
    parse_lines,
    read_layers,
)
from onnxq.errors import EngineError, EngineMissing
from onnxq.graph import HEAVY_OPS, RECURRENT_OPS
from onnxq.inputs import Array
from onnxq.lint.tables import TENSORRT
from onnxq.passes.center_inputs import CenterInputs
from onnxq.scheme import ActivationSchemes, Scheme


def build(model: onnx.ModelProto, *, shapes: Mapping[str, Sequence[int]] | None = None) -> Engine:
    """An engine of TensorRT where that is installed and has a GPU, else one compiled with TensorRT-RTX.

    ``shapes`` gives the inputs that are dynamic in the model; without it a dynamic batch is 1. The engine is tuned for
    them and, where nothing but the batch is dynamic, takes every batch from 1 to 64.
    Raises EngineMissing where neither is installed, EngineError where the parser or the builder refuses.
    """
    tensorrt = _import("tensorrt") if _gpu_present() else None
    if tensorrt is not None:
        return _build_to_run(tensorrt, model, shapes or {})
    rtx = _import("tensorrt_rtx")
    if rtx is not None:
        return _build_ahead_of_time(rtx, model, shapes or {})
    raise EngineMissing("TensorRT", "tensorrt-rtx")


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError):  # OSError: the package is there, a library of the driver is not
        return None


def _gpu_present() -> bool:
    """Whether the CUDA driver finds a device. TensorRT without one fails only when it builds."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


@dataclass(frozen=True)
class _Running:
    """An engine of TensorRT on a GPU. ``owners`` must outlive its runner."""

    model: onnx.ModelProto
    compiled: Compiled
    layers: Sequence[EngineLayer]
    runner: Any
    owners: tuple[Any, ...]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        from polygraphy.exception import PolygraphyException

        self.compiled.check(feeds)
        try:
            outputs = self.runner.infer(dict(feeds))
        except PolygraphyException as error:
            raise EngineError(f"{self.compiled.log.title}: {error}") from error
        # The runner reuses its buffers.
        return {output.name: np.array(outputs[output.name]) for output in self.model.graph.output}

    def read_back(self) -> Reading:
        layers = read_layers(self.model, self.layers)
        return Reading(self.compiled.log.title, layers, count_conversions(self.model, self.layers))


@dataclass(frozen=True)
class _NotRunning:
    """An engine of TensorRT-RTX for a GPU that is not here."""

    model: onnx.ModelProto
    title: str
    layers: Sequence[EngineLayer]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        raise EngineError(
            f"{self.title}: there are no outputs to compare. "
            "Run on a machine with an NVIDIA GPU and TensorRT: pip install 'onnxq[tensorrt]'."
        )

    def read_back(self) -> Reading:
        return Reading(
            self.title,
            read_layers(self.model, self.layers),
            count_conversions(self.model, self.layers),
            executed=False,
        )


def _build_to_run(trt: Any, model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> Engine:
    from polygraphy.backend.trt import TrtRunner
    from polygraphy.exception import PolygraphyException

    compiled = compile_for_batches(trt, f"TensorRT {trt.__version__}", model, shapes)
    runtime = trt.Runtime(compiled.log.logger)
    engine = runtime.deserialize_cuda_engine(compiled.plan)
    if engine is None:
        raise compiled.log.error("cannot load the engine it built")
    account = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    runner = TrtRunner(engine)
    try:
        runner.activate()  # once, so that runs can be timed
    except PolygraphyException as error:
        raise EngineError(f"{compiled.log.title}: {error}") from error
    running = _Running(model, compiled, parse_json(account), runner, (engine, runtime))
    weakref.finalize(running, runner.deactivate)
    return running


def _build_ahead_of_time(rtx: Any, model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> Engine:
    title = f"TensorRT-RTX {rtx.__version__}, compiled for compute capability 8.9, not run"
    log = compile_for_batches(rtx, title, model, shapes, rtx.ComputeCapability.SM89).log
    accounts = [text for _, text in log.messages if text.startswith("Layers:")]
    if not accounts:
        raise EngineError(f"{log.title}: it did not tell its layers, as TensorRT-RTX 1.7 does")
    return _NotRunning(model, log.title, parse_lines(accounts[-1]))


_I8 = Scheme(signed=True, symmetric=True)


def _build(model: onnx.ModelProto, shapes: Shapes) -> Engine:
    return build(_unnamed(model), shapes=shapes)


def _unnamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without names of dimensions: TensorRT takes equal names, such as the ``?`` of some exporters, for equal sizes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in (*copy.graph.input, *copy.graph.value_info, *copy.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_param"):
                dim.ClearField("dim_param")
    return copy


_ONLY_FP32 = frozenset({"Celu", "MeanVarianceNormalization"})  # what TensorRT-RTX 1.7 refuses, operator by operator

BACKEND = Backend(
    name="tensorrt",
    title="TensorRT",
    modules=("tensorrt", "tensorrt_rtx"),
    extra="tensorrt-rtx",
    rules={
        **dict.fromkeys(HEAVY_OPS, Rule(Reads.ALWAYS)),
        "Add": Rule(Reads.SKIP),
        # TensorRT itself moves a Q before what only moves or picks values. Two grids on one tensor it cannot merge: it
        # would write the tensor twice, as INT8 and as float.
        **dict.fromkeys(("Concat", "MaxPool", "Reshape", "Resize", "Transpose"), Rule(Reads.ALONG)),
    },
    activation=ActivationSchemes(_I8, _I8, _I8),
    weight=_I8,
    preparation=(CenterInputs(),),
    absorbs=frozenset({"Relu", "Clip"}),
    products=False,
    # NVIDIA's own quantizer leaves out every GEMV, and convolutions below 16 channels. In RFB-320 the latter are 5 % of
    # the work, in MobileNetV3 the former are 1.1 %: too much to leave in float, hence 8 channels and 65,536 weights.
    least=LeastSize(channels=8, width=16, vector=2**16),
    cuts_projections=True,
    fuses_min=True,
    floats={
        "fp32": frozenset(),
        "fp16": _ONLY_FP32,
        "bf16": _ONLY_FP32
        | {"ConvTranspose", "GRU", "GlobalLpPool", "HardSwish", "LpNormalization", "LpPool", "Mish", "Shrink"},
    },
    opens_shapes=False,
    float8=True,
    # It unpacks 4 bits at every run where the activation is INT8, and runs 4 bits with a scale a channel in float.
    low_bits=LowBits(frozenset({"INT4"}), shifts=True, channels=False, blocks={4: (16, 32, 64, 128)}, several=True),
    stores={"Gather": (0,)},
    refuses=dict.fromkeys(
        RECURRENT_OPS,
        "recurrent layers compute in float on TensorRT, and integer weights might be unpacked at every run",
    ),
    build=_build,
    lints=TENSORRT,
)
