"""From an ONNX graph to a serialized engine: TensorRT and TensorRT-RTX share the parser and the builder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from onnxq.backends.heavy import serialize
from onnxq.errors import EngineError, unknown
from onnxq.inputs import Array

LARGEST_BATCH = 64
Shape = tuple[int, ...]
Ranges = Mapping[str, tuple[Shape, Shape, Shape]]
"""Of every input by name the least, the usual and the largest shape."""


class Log:
    """What the builder says, kept: its errors, and with TensorRT-RTX the account of the layers."""

    def __init__(self, trt: Any, title: str) -> None:
        self.messages: list[tuple[Any, str]] = []
        self.title = title
        self._worst = trt.ILogger.Severity.ERROR

        def log(_: object, severity: Any, text: str) -> None:
            self.messages.append((severity, text))

        # Not a class statement: the base is only known here.
        self.logger = type("Logger", (trt.ILogger,), {"log": log})()

    def error(self, what: str) -> EngineError:
        causes = [text for severity, text in self.messages if severity <= self._worst]
        return EngineError(f"{self.title}: {what}. {causes[0] if causes else ''}".rstrip())


@dataclass(frozen=True)
class Compiled:
    """A serialized engine, the shapes it takes, and what was said while it was built."""

    plan: Any
    ranges: Ranges
    log: Log

    def check(self, feeds: Mapping[str, Array]) -> None:
        """Raises EngineError for feeds of a shape that the engine does not take."""
        for name, (least, _, most) in self.ranges.items():
            if name not in feeds:
                raise EngineError(f"{self.log.title}: input {name!r} is missing from the feeds")
            shape = feeds[name].shape
            fits = len(shape) == len(least) and all(a <= n <= b for a, n, b in zip(least, shape, most, strict=True))
            if not fits:
                taken = f"{list(least)}" if least == most else f"{list(least)} to {list(most)}"
                raise EngineError(
                    f"{self.log.title}: input {name!r} is {list(shape)}, and the engine takes {taken}. "
                    f"Build one for it: shapes={{{name!r}: {list(shape)}}}."
                )


def compile_for_batches(
    trt: Any, title: str, model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]], capability: Any = None
) -> Compiled:
    """The engine for a range of batches, or for the one that is given where the network takes no other.

    Many exporters declare a batch dynamic and write a fixed one into a Reshape.
    """
    log = Log(trt, title)
    try:
        return _compile(trt, log, model, shapes, capability, LARGEST_BATCH)
    except _OnlyOneBatch:
        log = Log(trt, f"{title}, for the batch it was built with alone")
        return _compile(trt, log, model, shapes, capability, 1)


class _OnlyOneBatch(Exception):
    """The network cannot be built for a range of batches."""


def _compile(
    trt: Any,
    log: Log,
    model: onnx.ModelProto,
    shapes: Mapping[str, Sequence[int]],
    capability: Any,
    largest: int,
) -> Compiled:
    """One engine; ``capability`` is of the GPU to compile for, None for the one that is here.

    Raises _OnlyOneBatch where a network that parses cannot be built for batches up to ``largest``.
    """
    register_plugins = getattr(trt, "init_libnvinfer_plugins", None)
    if register_plugins is not None:
        register_plugins(log.logger, "")
    builder = trt.Builder(log.logger)
    # TensorRT 10 still has weakly typed networks; later ones know nothing else.
    strong = getattr(getattr(trt, "NetworkDefinitionCreationFlag", None), "STRONGLY_TYPED", None)
    network = builder.create_network(0 if strong is None else 1 << int(strong))
    _parse(trt.OnnxParser(network, log.logger), serialize(model, "TensorRT"))
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if capability is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(capability, 0)
    profile = builder.create_optimization_profile()
    ranges = _ranges(network, shapes, largest)
    for name, sizes in ranges.items():
        profile.set_shape(name, *sizes)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None and any(least != most for least, _, most in ranges.values()):
        raise _OnlyOneBatch
    if plan is None:
        raise log.error("cannot build the network")
    return Compiled(plan, ranges, log)


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


def _ranges(network: Any, shapes: Mapping[str, Sequence[int]], largest: int) -> Ranges:
    """They span batches up to ``largest`` where the batch is dynamic, unless another size is dynamic and the model has
    several inputs: sizes that must change together with the batch are not known."""
    declared = {tensor.name: tuple(tensor.shape) for tensor in map(network.get_input, range(network.num_inputs))}
    steady = len(declared) == 1 or not any(-1 in shape[1:] for shape in declared.values())
    found = {}
    for name, usual in _input_shapes(network, shapes).items():
        batched = steady and declared[name][:1] == (-1,) and largest > 1
        found[name] = ((1, *usual[1:]), usual, (max(largest, usual[0]), *usual[1:])) if batched else (usual,) * 3
    return found


def _input_shapes(network: Any, shapes: Mapping[str, Sequence[int]]) -> dict[str, Shape]:
    """One size for every axis of every input: the given ones, and 1 for a dynamic batch."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    for name in shapes:
        if name not in {tensor.name for tensor in inputs}:
            raise EngineError(unknown("input", name, [tensor.name for tensor in inputs]))
    return {tensor.name: _shape(tensor.name, tuple(tensor.shape), shapes.get(tensor.name)) for tensor in inputs}


def _shape(name: str, declared: Shape, given: Sequence[int] | None) -> Shape:
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
