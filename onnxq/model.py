"""Load, check and save ONNX models, and carry over what onnx-graphsurgeon does not.

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
import onnx_graphsurgeon as gs
from google.protobuf.message import DecodeError

from onnxq import outside
from onnxq.errors import ModelError, OutputError
from onnxq.external_data import settle_external_data
from onnxq.files import write_files
from onnxq.fingerprint import fingerprint
from onnxq.graph import every_tensor
from onnxq.graphsurgeon_limits import refuse_unheld
from onnxq.mapped_constants import map_constants, rest_constants
from onnxq.normalise import copy_envelope, first_line, named, normalise, opset
from onnxq.outside import Outlined, complete, outsiders, total_bytes
from onnxq.packing import packed_constants
from onnxq.text_fields import refuse_other_bytes
from onnxq.two_files import written

ModelLike: TypeAlias = str | Path | onnx.ModelProto | gs.Graph
QUANTIZED_OPS = frozenset(
    [
        "QuantizeLinear",
        "DequantizeLinear",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
        "DynamicQuantizeLinear",
        # onnxruntime's own
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "QAttention",
        "QGemm",
        *(f"QLinear{op}" for op in ("Add", "AveragePool", "Concat", "GlobalAveragePool", "LeakyRelu", "Mul")),
        *(f"QLinear{op}" for op in ("Sigmoid", "Softmax", "Where")),
    ]
)


def load_model(source: ModelLike, *, quantized: bool = False) -> onnx.ModelProto:
    """The model, complete (external data read in), checked, at opset 13 or later, shapes inferred, with a
    unique name on every node.

    ``quantized`` says what it must be: a model that works on integers, or one that does not. Raises ModelError if it
    is not, cannot be read, is not valid ONNX, or its opset is unknown.
    """
    return _checked(*_read(source), quantized)


def load_marked(source: ModelLike, *, quantized: bool = False) -> tuple[onnx.ModelProto, str]:
    """The same, and the fingerprint of the model as it was given."""
    proto, where = _read(source)
    _check_readable(proto, where)
    mark = fingerprint(proto)
    return _checked(proto, where, quantized), mark


def _checked(proto: onnx.ModelProto, where: str, quantized: bool) -> onnx.ModelProto:
    _check_readable(proto, where)
    if quantized:
        _require_whole(proto, where)
        _require_quantized(proto, where)
    else:
        _refuse_quantized(proto, where)
    _check_valid(proto, where)
    return normalise(proto, where)


def read_model(source: ModelLike, *, large: bool = False) -> onnx.ModelProto:
    """The model as it is, quantized or not: complete, checked, functions inlined, a unique name on every node.

    ``large``: one of over 2 GiB may leave its weights in files. Raises ModelError as ``load_model`` does.
    """
    proto, where = _read(source)
    _check_readable(proto, where)
    if not large:
        _require_whole(proto, where)
    _check_valid(proto, where)
    return named(proto)


def _require_whole(proto: onnx.ModelProto, where: str) -> None:
    if outsiders(proto):
        size = total_bytes(proto) / 2**30
        raise ModelError(f"{where}: {size:.1f} GiB; the limit is 2 GiB, but for float models: onnxq quantize.")


def _check_readable(proto: onnx.ModelProto, where: str) -> None:
    if proto.ByteSize() > outside.LIMIT:
        raise ModelError(
            f"{where}: {proto.ByteSize() / 2**30:.1f} GiB in one message; the limit is 2 GiB. Write it with its "
            "weights beside it, onnx.save(model, path, save_as_external_data=True), and give the path."
        )
    if not proto.graph.node and not proto.graph.input:
        raise ModelError(f"{where}: this is not an ONNX model (it has no graph). Export the model again.")
    _check_opset(proto, where)


def _check_valid(proto: onnx.ModelProto, where: str) -> None:
    try:
        onnx.checker.check_model(Outlined.of(proto).model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ModelError(f"{where}: not a valid ONNX model: {first_line(error)}. Export it again.") from error


def _read(source: ModelLike) -> tuple[onnx.ModelProto, str]:
    if isinstance(source, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(source)
        _refuse_outside(copy, "the model given")
        return copy, "the model given"
    if isinstance(source, gs.Graph):
        exported, where = gs.export_onnx(source), f"the graph {source.name!r}"
        _refuse_outside(exported, where)
        return exported, where
    path = Path(source)
    proto = parse_model(path)
    settle_external_data(proto, path)
    return proto, str(path)


def parse_model(path: Path) -> onnx.ModelProto:
    """What the file itself holds, neither complete nor checked. Raises ModelError."""
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
    refuse_other_bytes(proto, str(path))
    return proto


def _refuse_outside(proto: onnx.ModelProto, where: str) -> None:
    """Only of a file is known where what is beside it may be."""
    if found := outsiders(proto):
        raise ModelError(
            f"{where}: the weights of {found[0].name!r} lie in another file. Give the path of the model, or load them "
            "with it: onnx.load(path)."
        )


def _check_opset(proto: onnx.ModelProto, where: str) -> None:
    found, newest = opset(proto), onnx.defs.onnx_opset_version()
    if found == 0:
        raise ModelError(f"{where}: names no opset of the standard operators. Export the model again.")
    if found > newest:
        raise ModelError(
            f"{where}: opset {found}; the installed onnx {onnx.__version__} knows opsets up to {newest}. "
            f"Export with opset {newest} or older, or: pip install --upgrade onnx onnxruntime"
        )


def _quantized_nodes(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    found = [node for node in proto.graph.node if node.op_type in QUANTIZED_OPS]
    return found or [node for node in proto.graph.node if node.op_type == "Quant" and node.domain]


def _refuse_quantized(proto: onnx.ModelProto, where: str) -> None:
    found = _quantized_nodes(proto)
    if found:
        raise ModelError(
            f"{where}: already quantized: {len(found)} nodes such as {found[0].name or found[0].op_type!r} "
            f"({found[0].op_type}) work on integers. Give the FP32 model it was made from; for another engine: "
            "onnxq retarget."
        )


def is_quantized(proto: onnx.ModelProto) -> bool:
    """Whether some node of the main graph makes or reads integers that stand for reals."""
    return bool(_quantized_nodes(proto))


def _require_quantized(proto: onnx.ModelProto, where: str) -> None:
    if not is_quantized(proto):
        raise ModelError(f"{where}: has no Q/DQ nodes, nor others that work on integers. Use: onnxq quantize.")


def to_graph(proto: onnx.ModelProto) -> gs.Graph:
    """The graph that passes rewrite. Raises ModelError for what graphsurgeon cannot hold."""
    from onnx_graphsurgeon.util.exception import OnnxGraphSurgeonException

    refuse_unheld(proto)
    try:
        with graphsurgeon_hushed():
            graph = gs.import_onnx(proto)
    except OnnxGraphSurgeonException as error:
        raise ModelError(f"the model holds what onnx-graphsurgeon does not know: {first_line(error)}.") from error
    except KeyError as error:  # it looks a dtype up
        raise ModelError(f"the model holds a tensor of type {error}, which ONNX does not know.") from error
    map_constants(graph)
    _forget_composite_types(graph)
    return graph


def _forget_composite_types(graph: gs.Graph) -> None:
    """A tensor that is an optional, or a sequence of sequences, has a type that graphsurgeon reads and cannot write;
    ``exported`` gives it back to those of the interface."""
    for tensor in every_tensor(graph).values():
        if tensor.dtype is not None and not isinstance(tensor.dtype, int | np.dtype | type):
            tensor.dtype = None


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
    """The graph as a model, with the metadata of the model it came from; constants of packed types are packed."""
    rest_constants(graph)
    return exported(graph, like)


def exported(graph: gs.Graph, like: onnx.ModelProto) -> onnx.ModelProto:
    """The same, with all constants where they are."""
    with graphsurgeon_hushed(), packed_constants(graph):
        proto: onnx.ModelProto = gs.export_onnx(graph, do_type_check=False)
    copy_envelope(like, proto)
    types = {value.name: value.type for value in (*like.graph.input, *like.graph.output)}
    for value in (*proto.graph.input, *proto.graph.output):
        if value.type.WhichOneof("value") is None and value.name in types:
            value.type.CopyFrom(types[value.name])
    needed = onnx.helper.find_min_ir_version_for(proto.opset_import, ignore_unknown=True)
    proto.ir_version = max(like.ir_version, needed, 7)
    return proto


def model_bytes(proto: onnx.ModelProto, path: Path) -> bytes:
    """What ``path`` will hold; the same model gives the same bytes. Raises OutputError."""
    if total_bytes(proto) > outside.LIMIT:
        raise OutputError(f"{path}: the model is over 2 GiB, the limit of one ONNX file.")
    found: bytes = complete(proto).SerializeToString(deterministic=True)
    return found


def save_model(proto: onnx.ModelProto, path: Path) -> None:
    """Write beside, then rename: a reader never sees half a file. The weights of a model over 2 GiB are written to a
    second one, see ``two_files.py``. Raises OutputError."""
    write_files(written(proto, path) if total_bytes(proto) > outside.LIMIT else {path: model_bytes(proto, path)})
