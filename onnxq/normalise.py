"""Bring a model into the form passes expect: one graph, opset 13 or later, named nodes, known shapes."""

from collections.abc import Iterator

import numpy as np
import onnx
import onnx.inliner

from onnxq.errors import ModelError
from onnxq.outside import Outlined

OLDEST_OPSET = 13  # the first whose DequantizeLinear has an axis, so the first with per-channel weights
KNOWN_IR = 10  # of onnx 1.16: what every onnxruntime of the last years loads
GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
REFUSALS = (  # of the converter, which infers shapes on its way
    RuntimeError,
    ValueError,
    onnx.shape_inference.InferenceError,
    onnx.version_converter.ConvertError,
)


def normalise(proto: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Functions inlined, opset upgraded to at least 13, unique node names, shapes inferred."""
    proto = named(proto)
    if opset(proto) < OLDEST_OPSET:
        proto = _upgrade(proto, where)
        _name_nodes(proto)
    _spell_out_constants(proto)
    # The newest IR version that onnx writes is often unknown to the newest onnxruntime; none of it is needed here.
    needed = onnx.helper.find_min_ir_version_for(proto.opset_import, ignore_unknown=True)
    proto.ir_version = max(needed, min(proto.ir_version, KNOWN_IR))
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return proto  # shapes are a help, not a need; onnxruntime infers its own


def named(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with functions inlined, and a name on every node that no other has."""
    if proto.functions:
        try:
            proto = onnx.inliner.inline_local_functions(proto)
        except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
            raise ModelError(f"the functions of the model cannot be inlined: {first_line(error)}.") from error
    _name_nodes(proto)
    return proto


def _upgrade(proto: onnx.ModelProto, where: str) -> onnx.ModelProto:
    try:
        upgraded = _converted(proto, OLDEST_OPSET)
    except REFUSALS as error:
        raise ModelError(
            f"{where}: opset {opset(proto)}; quantized weights need opset {OLDEST_OPSET}, and the upgrade failed: "
            f"{first_line(error)}. Export the model with opset {OLDEST_OPSET} or later."
        ) from error
    pairs = zip(_interface(proto), _interface(upgraded), strict=False)
    changed = next((b.name for a, b in pairs if _rank(a) != _rank(b) and _rank(a) is not None), "")
    if changed:  # the converter drops the batch axis of Scan of opset 8, which then computes something else
        raise ModelError(
            f"{where}: opset {opset(proto)}; quantized weights need opset {OLDEST_OPSET}, and the upgrade changes the "
            f"rank of {changed!r}. Export the model with opset {OLDEST_OPSET} or later."
        )
    copy_envelope(proto, upgraded)
    return upgraded


def _interface(proto: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Outputs, and those inputs that are no weights: old models list these among them."""
    held = {tensor.name for tensor in proto.graph.initializer}
    return [*(value for value in proto.graph.input if value.name not in held), *proto.graph.output]


def _rank(value: onnx.ValueInfoProto) -> int | None:
    """None where it is not known."""
    kind = value.type.tensor_type
    return len(kind.shape.dim) if kind.HasField("shape") else None


def raise_opset(proto: onnx.ModelProto, wanted: int, what: str, way_out: str) -> onnx.ModelProto:
    """The model at opset ``wanted`` or later, shapes inferred. Raises ModelError where ONNX has no way there;
    ``what`` needs that opset, and ``way_out`` is what to ask for instead."""
    if opset(proto) < wanted:
        try:
            raised = _converted(proto, wanted)
        except REFUSALS as error:
            raise ModelError(
                f"{what} need opset {wanted}; the upgrade from {opset(proto)} failed: {first_line(error)}. "
                f"Export the model with opset {wanted} or later, or: {way_out}."
            ) from error
        copy_envelope(proto, raised)
        _name_nodes(raised)
        raised.ir_version = max(proto.ir_version, onnx.helper.find_min_ir_version_for(raised.opset_import, True))
        proto = raised
    return onnx.shape_inference.infer_shapes(proto, data_prop=True)


def _converted(proto: onnx.ModelProto, wanted: int) -> onnx.ModelProto:
    """The model at opset ``wanted``; the converter forgets where weights outside are."""
    outline = Outlined.of(proto)
    return outline.filled(onnx.version_converter.convert_version(outline.model, wanted))


def _name_nodes(proto: onnx.ModelProto) -> None:
    """A name for every node that no other has, bodies of If, Loop and Scan included."""
    taken: set[str] = set()
    for node in nodes(proto.graph):
        base = node.name or (f"{node.op_type}_{node.output[0]}" if node.output else node.op_type)
        name, count = base, 0
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        node.name = name
        taken.add(name)


def _spell_out_constants(proto: onnx.ModelProto) -> None:
    """Constants given as plain numbers become tensors: graphsurgeon takes ``value_float`` for a double."""
    types = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    for node in nodes(proto.graph):
        for attribute in node.attribute if node.op_type == "Constant" and node.domain in ("", "ai.onnx") else ():
            if attribute.name in types:
                array = np.asarray(onnx.helper.get_attribute_value(attribute), types[attribute.name])
                attribute.CopyFrom(onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(array)))


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Those of a graph and then of the bodies in it."""
    yield from graph.node
    for node in graph.node:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs) if attribute.type in GRAPHS else ():
                yield from nodes(body)


def opset(proto: onnx.ModelProto) -> int:
    """The version of the standard operators, 0 if the model names none."""
    return max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=0)


def copy_envelope(source: onnx.ModelProto, target: onnx.ModelProto) -> None:
    for name in ("doc_string", "domain", "model_version", "producer_name", "producer_version"):
        setattr(target, name, getattr(source, name))
    target.graph.doc_string = source.graph.doc_string
    del target.metadata_props[:]
    target.metadata_props.extend(source.metadata_props)


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip(" .")[:300]
