"""Load, check, normalise and save ONNX models, and carry over what onnx-graphsurgeon does not.

graphsurgeon's import and export lose metadata, doc strings, domain and version of the model; ``export``
puts them back. Models are untrusted: external data may not leave the model's folder, and every failure of a
parser is one ModelError.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
import onnx.inliner
import onnx_graphsurgeon as gs
from google.protobuf.message import DecodeError

from onnxq.errors import ModelError, OutputError
from onnxq.files import write_file

OLDEST_OPSET = 13  # the first whose DequantizeLinear has an axis, so the first with per-channel weights
KNOWN_IR = 10  # of onnx 1.16: what every onnxruntime of the last years loads
PROTOBUF_LIMIT = 2**31 - 1

ModelLike: TypeAlias = str | Path | onnx.ModelProto | gs.Graph
GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
QUANTIZED_OPS = frozenset(
    [
        "QuantizeLinear",
        "DequantizeLinear",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
        "DynamicQuantizeLinear",
    ]
)


def load_model(source: ModelLike) -> onnx.ModelProto:
    """The model, complete (external data read in), checked, at opset 13 or later, shapes inferred, with a
    unique name on every node.

    Raises ModelError if it cannot be read, is not valid ONNX, is already quantized, or its opset is unknown.
    """
    proto, where = _read(source)
    if not proto.graph.node and not proto.graph.input:
        raise ModelError(f"{where}: this is not an ONNX model (it has no graph). Export the model again.")
    _check_opset(proto, where)
    _refuse_quantized(proto, where)
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ModelError(f"{where}: not a valid ONNX model: {_first_line(error)}. Export it again.") from error
    return normalise(proto, where)


def _read(source: ModelLike) -> tuple[onnx.ModelProto, str]:
    if isinstance(source, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(source)
        return copy, "the model given"
    if isinstance(source, gs.Graph):
        return gs.export_onnx(source), f"the graph {source.name!r}"
    path = Path(source)
    if not path.is_file():
        raise ModelError(f"{path}: no such file. Give the path of an .onnx model, or of a model card.")
    try:
        proto = onnx.load(path, format="protobuf", load_external_data=False)  # whatever the suffix
    except DecodeError as error:
        raise ModelError(
            f"{path}: not an ONNX file, or cut off ({path.stat().st_size:,} bytes). Export or copy it again."
        ) from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}.") from error
    _load_external_data(proto, path)
    return proto, str(path)


def _load_external_data(proto: onnx.ModelProto, path: Path) -> None:
    """Read tensors kept in files beside the model; a path that leaves the model's folder is refused."""
    folder = path.resolve().parent
    for tensor in onnx.external_data_helper._get_all_tensors(proto):
        if not onnx.external_data_helper.uses_external_data(tensor):
            continue
        location = next((e.value for e in tensor.external_data if e.key == "location"), "")
        file = (folder / location).resolve()
        if not file.is_relative_to(folder):
            raise ModelError(
                f"{path}: tensor {tensor.name!r} wants its data from {location!r}, outside the model's folder. "
                "Move the data beside the model and export again."
            )
        try:
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise ModelError(
                f"{path}: the data of tensor {tensor.name!r} cannot be read from {location!r}: {_first_line(error)}. "
                "Copy the data file beside the model."
            ) from error
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def opset(proto: onnx.ModelProto) -> int:
    """The version of the standard operators, 0 if the model names none."""
    return max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=0)


def _check_opset(proto: onnx.ModelProto, where: str) -> None:
    found, newest = opset(proto), onnx.defs.onnx_opset_version()
    if found == 0:
        raise ModelError(f"{where}: names no opset of the standard operators. Export the model again.")
    if found > newest:
        raise ModelError(
            f"{where}: opset {found}; the installed onnx {onnx.__version__} knows opsets up to {newest}. "
            f"Export with opset {newest} or older, or: pip install --upgrade onnx onnxruntime"
        )


def _refuse_quantized(proto: onnx.ModelProto, where: str) -> None:
    found = [node for node in proto.graph.node if node.op_type in QUANTIZED_OPS]
    foreign = [node for node in proto.graph.node if node.op_type == "Quant" and node.domain]
    if found or foreign:
        first = (found or foreign)[0]
        count = len(found) or len(foreign)
        raise ModelError(
            f"{where}: already quantized: {count} nodes such as {first.name or first.op_type!r} ({first.op_type}) "
            "work on integers. Give the FP32 model it was made from."
        )


def normalise(proto: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Functions inlined, opset upgraded to at least 13, unique node names, shapes inferred."""
    if proto.functions:
        proto = onnx.inliner.inline_local_functions(proto)
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


def _upgrade(proto: onnx.ModelProto, where: str) -> onnx.ModelProto:
    try:
        upgraded = onnx.version_converter.convert_version(proto, OLDEST_OPSET)
    except (RuntimeError, ValueError, onnx.version_converter.ConvertError) as error:
        raise ModelError(
            f"{where}: opset {opset(proto)}; quantized weights need opset {OLDEST_OPSET}, and the upgrade failed: "
            f"{_first_line(error)}. Export the model with opset {OLDEST_OPSET} or later."
        ) from error
    _copy_envelope(proto, upgraded)
    return upgraded


def _name_nodes(proto: onnx.ModelProto) -> None:
    """A name for every node that no other has, bodies of If, Loop and Scan included."""
    taken: set[str] = set()
    for node in _nodes(proto.graph):
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
    for node in _nodes(proto.graph):
        for attribute in node.attribute if node.op_type == "Constant" and node.domain in ("", "ai.onnx") else ():
            if attribute.name in types:
                array = np.asarray(onnx.helper.get_attribute_value(attribute), types[attribute.name])
                attribute.CopyFrom(onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(array)))


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    yield from graph.node
    for node in graph.node:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs) if attribute.type in GRAPHS else ():
                yield from _nodes(body)


def to_graph(proto: onnx.ModelProto) -> gs.Graph:
    """The graph that passes rewrite."""
    with graphsurgeon_hushed():
        return gs.import_onnx(proto)


@contextmanager
def graphsurgeon_hushed() -> Iterator[None]:
    """It prints its warnings, of types that numpy lacks for one, among what the command prints."""
    from onnx_graphsurgeon.logger import G_LOGGER

    severity = G_LOGGER.severity
    G_LOGGER.severity = logging.ERROR
    try:
        yield
    finally:
        G_LOGGER.severity = severity


def export(graph: gs.Graph, like: onnx.ModelProto) -> onnx.ModelProto:
    """The graph as a model, with the metadata of the model it came from."""
    with graphsurgeon_hushed():
        proto: onnx.ModelProto = gs.export_onnx(graph, do_type_check=False)
    _copy_envelope(like, proto)
    proto.ir_version = max(like.ir_version, 7)
    return proto


def _copy_envelope(source: onnx.ModelProto, target: onnx.ModelProto) -> None:
    for name in ("doc_string", "domain", "model_version", "producer_name", "producer_version"):
        setattr(target, name, getattr(source, name))
    target.graph.doc_string = source.graph.doc_string
    del target.metadata_props[:]
    target.metadata_props.extend(source.metadata_props)


def save_model(proto: onnx.ModelProto, path: Path) -> None:
    """Write beside, then rename: a reader never sees half a file. Raises OutputError."""
    if proto.ByteSize() > PROTOBUF_LIMIT:
        raise OutputError(f"{path}: the model is over 2 GiB, the limit of one ONNX file.")
    write_file(path, proto.SerializeToString(deterministic=True))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip(" .")[:300]
