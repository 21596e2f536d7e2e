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

from onnxq.backends.backend import Backend, Reads, Rule, Shapes
from onnxq.backends.engine import Engine, Reading
from onnxq.backends.heavy import serialize
from onnxq.backends.tensorrt_layers import (
    EngineLayer,
    count_conversions,
    parse_json,
    parse_lines,
    read_layers,
)
from onnxq.errors import EngineError, EngineMissing, unknown
from onnxq.graph import HEAVY_OPS
from onnxq.inputs import Array
from onnxq.lint.tables import TENSORRT
from onnxq.scheme import ActivationSchemes, Scheme


def build(model: onnx.ModelProto, *, shapes: Mapping[str, Sequence[int]] | None = None) -> Engine:
    """An engine of TensorRT where that is installed and has a GPU, else one compiled with TensorRT-RTX.

    ``shapes`` gives the inputs that are dynamic in the model; without it a dynamic batch is 1.
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
    """An engine of TensorRT on a GPU."""

    model: onnx.ModelProto
    title: str
    layers: Sequence[EngineLayer]
    runner: Any

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        from polygraphy.exception import PolygraphyException

        try:
            outputs = self.runner.infer(dict(feeds))
        except PolygraphyException as error:
            raise EngineError(f"{self.title}: {error}") from error
        # The runner reuses its buffers.
        return {output.name: np.array(outputs[output.name]) for output in self.model.graph.output}

    def read_back(self) -> Reading:
        return Reading(self.title, read_layers(self.model, self.layers), count_conversions(self.model, self.layers))


@dataclass(frozen=True)
class _Compiled:
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

    title = f"TensorRT {trt.__version__}"
    log = _Log(trt, title)
    plan = _compile(trt, log, model, shapes)
    engine = trt.Runtime(log.logger).deserialize_cuda_engine(plan)
    if engine is None:
        raise log.error("cannot load the engine it built")
    account = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    runner = TrtRunner(engine)
    runner.activate()  # once, so that runs can be timed
    running = _Running(model, title, parse_json(account), runner)
    weakref.finalize(running, runner.deactivate)
    return running


def _build_ahead_of_time(rtx: Any, model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> Engine:
    title = f"TensorRT-RTX {rtx.__version__}, compiled for compute capability 8.9, not run"
    log = _Log(rtx, title)
    _compile(rtx, log, model, shapes, capability=rtx.ComputeCapability.SM89)
    accounts = [text for _, text in log.messages if text.startswith("Layers:")]
    if not accounts:
        raise EngineError(f"{title}: it did not tell its layers, as TensorRT-RTX 1.7 does")
    return _Compiled(model, title, parse_lines(accounts[-1]))


class _Log:
    """What the builder says, kept: its errors, and with TensorRT-RTX the account of the layers."""

    def __init__(self, trt: Any, title: str) -> None:
        self.messages: list[tuple[Any, str]] = []
        self._title = title
        self._worst = trt.ILogger.Severity.ERROR

        def log(_: object, severity: Any, text: str) -> None:
            self.messages.append((severity, text))

        # Not a class statement: the base is only known here.
        self.logger = type("Logger", (trt.ILogger,), {"log": log})()

    def error(self, what: str) -> EngineError:
        causes = [text for severity, text in self.messages if severity <= self._worst]
        return EngineError(f"{self._title}: {what}. {causes[0] if causes else ''}".rstrip())


def _compile(
    trt: Any, log: _Log, model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]], capability: Any = None
) -> Any:
    """The serialized engine; ``capability`` is of the GPU to compile for, None for the one that is here."""
    builder = trt.Builder(log.logger)
    # TensorRT 10 still has weakly typed networks; later ones know nothing else and drop the flag.
    strong = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if strong is None else 1 << int(strong))
    _parse(trt.OnnxParser(network, log.logger), serialize(model, "TensorRT"))
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if capability is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(capability, 0)
    profile = builder.create_optimization_profile()
    for name, shape in _input_shapes(network, shapes).items():
        profile.set_shape(name, shape, shape, shape)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise log.error("cannot build the network")
    return plan


def _parse(parser: Any, data: bytes) -> None:
    if parser.parse(data):
        return
    refusals = []
    for index in range(min(parser.num_errors, 3)):
        error = parser.get_error(index)
        where = f"node {error.node_name()!r} ({error.node_operator()})" if error.node_name() else "the graph"
        refusals.append(f"{where}: {' '.join(error.desc().split())}")
    raise EngineError(
        f"TensorRT's parser refuses {'; '.join(refusals)}. It takes symmetric INT8 with positive scales, "
        "and a float bias: quantize with the backend 'tensorrt'."
    )


def _input_shapes(network: Any, shapes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """One size for every axis of every input: the given ones, and 1 for a dynamic batch."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    for name in shapes:
        if name not in {tensor.name for tensor in inputs}:
            raise EngineError(unknown("input", name, [tensor.name for tensor in inputs]))
    return {tensor.name: _shape(tensor.name, tuple(tensor.shape), shapes.get(tensor.name)) for tensor in inputs}


def _shape(name: str, declared: tuple[int, ...], given: Sequence[int] | None) -> tuple[int, ...]:
    if given is not None:
        if len(given) != len(declared) or any(d not in (-1, g) for d, g in zip(declared, given, strict=True)):
            raise EngineError(f"input {name!r} is {list(declared)} in the model and cannot be {list(given)}")
        return tuple(given)
    if -1 in declared[1:]:
        raise EngineError(
            f"input {name!r} is {list(declared)}: TensorRT needs every size but the batch. "
            f"Pass shapes={{{name!r}: [...]}}."
        )
    return tuple(1 if size == -1 else size for size in declared)


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


BACKEND = Backend(
    name="tensorrt",
    title="TensorRT",
    modules=("tensorrt", "tensorrt_rtx"),
    extra="tensorrt-rtx",
    rules={
        **dict.fromkeys(HEAVY_OPS, Rule(Reads.ALWAYS)),
        "Add": Rule(Reads.SKIP),
    },
    activation=ActivationSchemes(_I8, _I8, _I8),
    weight=_I8,
    absorbs=frozenset({"Relu", "Clip"}),
    products=False,
    depthwise=False,
    opens_shapes=False,
    build=_build,
    lints=TENSORRT,
)
