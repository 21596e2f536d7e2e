"""The ONNX standard's own tests of its operators, as the onnx package has them: small models, and what they read."""

import ctypes
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx.backend.test.loader import load_model_tests

from onnxq.execute import refusals


@dataclass(frozen=True)
class Case:
    """``feeds`` are arrays, lists of arrays, or None; numpy's dtypes of the ml_dtypes package among them."""

    name: str
    operator: str
    model: onnx.ModelProto
    feeds: Mapping[str, Any]
    form: str = ""  # how it differs from the standard's own

    @property
    def plain(self) -> bool:
        """Whether all that is fed is arrays."""
        return all(isinstance(value, np.ndarray) for value in self.feeds.values())


def with_constants(case: Case) -> Case | None:
    """The same with all inputs but the first for constants, as weights are; None where there is none to be one."""
    first, *others = case.feeds or [""]
    arrays = {name: case.feeds[name] for name in others}
    if not others or not case.plain or any(array.dtype.isbuiltin != 1 for array in arrays.values()):
        return None
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    old = model.ir_version < 4  # then constants are inputs as well
    kept = [value for value in model.graph.input if old or value.name == first]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    return Case(f"{case.name} with constants", case.operator, model, {first: case.feeds[first]}, "with constants")


def between_layers(case: Case) -> Case | None:
    """The same between two linear layers that change nothing, which become integers with what is between them; None
    where that reads or gives no rows of float32."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    if not graph.input or not (_has_rows(graph.input[0]) and _has_rows(graph.output[0])):
        return None
    given, made = graph.input[0], graph.output[0]
    inside = {name: f"{name}/inside" for name in (given.name, made.name)}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [inside.get(name, name) for name in names]
    layers = [(given.name, inside[given.name], given), (inside[made.name], made.name, made)]
    for at, (source, result, rows) in zip((0, len(graph.node) + 1), layers, strict=True):
        size = rows.type.tensor_type.shape.dim[-1].dim_value
        graph.initializer.append(onnx.numpy_helper.from_array(np.eye(size, dtype=np.float32), f"{result}/weight"))
        graph.node.insert(at, onnx.helper.make_node("MatMul", [source, f"{result}/weight"], [result]))
    read = {value.name for value in graph.input} - {tensor.name for tensor in graph.initializer}
    return Case(f"{case.name} between layers", case.operator, model, {n: case.feeds[n] for n in read}, "between layers")


def _has_rows(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    last = kind.shape.dim[-1] if kind.shape.dim else None
    return kind.elem_type == onnx.TensorProto.FLOAT and last is not None and 0 < last.dim_value <= 1000


class Refused(Exception):
    """onnxruntime does not run it."""


def cases() -> list[Case]:
    """All of them, in order of their names, each in every form that it can have. Those that spell an operator out in
    others count as that operator's."""
    found: list[Any] = sorted(load_model_tests(kind="node"), key=lambda test: str(test.name))
    single = {test.name: test.model.graph.node[0].op_type for test in found if len(test.model.graph.node) == 1}
    given = [_case(test, single) for test in found]
    forms = ((case, with_constants(case), between_layers(case)) for case in given)
    return [form for some in forms for form in some if form is not None]


def _case(test: Any, single: Mapping[str, str]) -> Case:
    model = test.model
    values = [_fed(value) for value in test.data_sets[0][0]]
    feeds = {entry.name: value for entry, value in zip(model.graph.input, values, strict=True)}
    return Case(test.name.removeprefix("test_"), single[re.sub(r"_expanded.*", "", test.name)], model, feeds)


def _fed(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return value if value is None or isinstance(value, list) else np.asarray(value)


def answers(model: onnx.ModelProto, feeds: Mapping[str, Any], *, optimize: bool = False) -> list[Any]:
    """What onnxruntime makes of it, computed as the graph is written; of types that numpy lacks the bytes. Raises
    Refused."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        if not any(_foreign(entry.type.tensor_type.elem_type) for entry in (*model.graph.input, *model.graph.output)):
            found: list[Any] = session.run(None, deepcopy(dict(feeds)))  # a norm in training writes to what it reads
            return found
        types = {entry.name: entry.type.tensor_type.elem_type for entry in model.graph.input}
        given = {name: _ort_value(value, types[name]) for name, value in feeds.items()}
        return [_plain(value) for value in session.run_with_ort_values(None, given)]
    except refusals() as error:
        raise Refused(" ".join(str(error).removeprefix("[ONNXRuntimeError] : ").split())) from error


def _foreign(kind: int) -> bool:
    """Whether it is a type that numpy does not have itself."""
    if kind in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING):
        return False
    return onnx.helper.tensor_dtype_to_np_dtype(kind).isbuiltin != 1


def _ort_value(value: NDArray[Any], kind: int) -> Any:
    if not _foreign(kind):
        return ort.OrtValue.ortvalue_from_numpy(value)
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(value, kind)


def _plain(value: Any) -> Any:
    try:
        return value.numpy()
    except RuntimeError:
        content = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
        return np.frombuffer(content, np.uint8)
