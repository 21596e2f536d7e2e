"""Run a graph with onnxruntime."""

from collections.abc import Iterable, Mapping
from typing import Any

import onnx

from onnxq.errors import ModelError
from onnxq.inputs import Array
from onnxq.lean import Lean
from onnxq.outside import loadable
from onnxq.samples import Batch


class Session:
    """A model in onnxruntime on the CPU. ``optimize=False`` computes it node by node, as it is written."""

    def __init__(self, model: onnx.ModelProto | Lean, *, optimize: bool = True, threads: int | None = None) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or 0
        options.enable_mem_pattern = False  # it takes fresh memory for a whole run, which costs more than it saves
        # Threads that wait for the next run by spinning would slow down what is done between two runs.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._lean = lean = model if isinstance(model, Lean) else Lean.of(model)  # kept: kernels read its weights
        level = ort.GraphOptimizationLevel
        # onnxruntime fuses a MatMul behind 8-bit floats into a kernel for integers, and refuses that.
        fuses = optimize and not any(t.data_type == onnx.TensorProto.FLOAT8E4M3FN for t in lean.model.graph.initializer)
        options.graph_optimization_level = level.ORT_ENABLE_ALL if fuses else level.ORT_DISABLE_ALL
        self.outputs = [output.name for output in lean.model.graph.output]
        # A norm in training writes the new mean and variance to the arrays that it is fed.
        self._writes = any(a.name == "training_mode" and a.i for node in lean.model.graph.node for a in node.attribute)
        content, entries = loadable(lean.model)
        for name, value in entries.items():
            options.add_session_config_entry(name, value)
        if entries:
            # Kernels would pack copies of the weights that are mapped: of 2.4 GB, that takes 12 s and as much memory.
            options.add_session_config_entry("session.disable_prepacking", "1")
        values = [ort.OrtValue.ortvalue_from_numpy(weight) for weight in lean.weights.values()]
        options.add_external_initializers(list(lean.weights), values)
        try:
            self._session: Any = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except refusals() as error:
            hint = " Take such operators out of the model, and quantize the rest." if "registered" in str(error) else ""
            raise ModelError(f"onnxruntime cannot load the model: {_clean(error)}.{hint}") from error

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name. Raises ModelError with onnxruntime's reason."""
        fed = {name: array.copy() for name, array in feeds.items()} if self._writes else dict(feeds)
        try:
            return dict(zip(self.outputs, self._session.run(self.outputs, fed), strict=True))
        except refusals() as error:
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())
            raise ModelError(f"onnxruntime cannot run the model on {shapes}: {_clean(error)}") from error


def refusals() -> tuple[type[Exception], ...]:
    """onnxruntime's errors: one class for every status code, and no common base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NotImplemented,
        state.RuntimeException,
        RuntimeError,  # for arrays of types that numpy does not have
        ValueError,
    )


def _clean(error: Exception) -> str:
    return str(error).strip().splitlines()[0].removeprefix("[ONNXRuntimeError] : ")[:300]


def returning(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """The model with ``tensors`` for outputs; with its own, where all of them are inputs."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    return_from(watched, tensors)
    return watched


def return_from(model: onnx.ModelProto, tensors: Iterable[str]) -> None:
    """Let the model have ``tensors`` for outputs; its own, where all of them are inputs."""
    inner = sorted(set(tensors) - {entry.name for entry in model.graph.input})
    if inner:
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)


def real_samples(array: Array, part: Batch) -> Array:
    """Without what only fills a fixed batch up."""
    fed = next(iter(part.feeds.values())).shape[:1]
    return array[: part.count] if not part.alone and fed and array.shape[:1] == fed and part.count < fed[0] else array
