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

import onnx
import onnx_graphsurgeon as gs
from google.protobuf.message import DecodeError

from onnxq.errors import ModelError, OutputError
from onnxq.files import write_file
from onnxq.normalise import copy_envelope, first_line, named, normalise, opset

PROTOBUF_LIMIT = 2**31 - 1

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
    proto, where = _read(source)
    _check_readable(proto, where)
    (_require_quantized if quantized else _refuse_quantized)(proto, where)
    _check_valid(proto, where)
    return normalise(proto, where)


def read_model(source: ModelLike) -> onnx.ModelProto:
    """The model as it is, quantized or not: complete, checked, functions inlined, a unique name on every node.

    Raises ModelError as ``load_model`` does.
    """
    proto, where = _read(source)
    _check_readable(proto, where)
    _check_valid(proto, where)
    return named(proto)


def _check_readable(proto: onnx.ModelProto, where: str) -> None:
    if proto.ByteSize() > PROTOBUF_LIMIT:
        raise ModelError(f"{where}: {proto.ByteSize() / 2**30:.1f} GiB; the limit is 2 GiB. Quantize it in parts.")
    if not proto.graph.node and not proto.graph.input:
        raise ModelError(f"{where}: this is not an ONNX model (it has no graph). Export the model again.")
    _check_opset(proto, where)


def _check_valid(proto: onnx.ModelProto, where: str) -> None:
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ModelError(f"{where}: not a valid ONNX model: {first_line(error)}. Export it again.") from error


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
                f"{path}: the data of tensor {tensor.name!r} cannot be read from {location!r}: {first_line(error)}. "
                "Copy the data file beside the model."
            ) from error
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


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

    try:
        with graphsurgeon_hushed():
            return gs.import_onnx(proto)
    except OnnxGraphSurgeonException as error:
        raise ModelError(f"the model holds what onnx-graphsurgeon does not know: {first_line(error)}.") from error


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
    copy_envelope(like, proto)
    needed = onnx.helper.find_min_ir_version_for(proto.opset_import, ignore_unknown=True)
    proto.ir_version = max(like.ir_version, needed, 7)
    return proto


def model_bytes(proto: onnx.ModelProto, path: Path) -> bytes:
    """What ``path`` will hold; the same model gives the same bytes. Raises OutputError."""
    if proto.ByteSize() > PROTOBUF_LIMIT:
        raise OutputError(f"{path}: the model is over 2 GiB, the limit of one ONNX file.")
    found: bytes = proto.SerializeToString(deterministic=True)
    return found


def save_model(proto: onnx.ModelProto, path: Path) -> None:
    """Write beside, then rename: a reader never sees half a file. Raises OutputError."""
    write_file(path, model_bytes(proto, path))
