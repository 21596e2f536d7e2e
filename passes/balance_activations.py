"""``DepthwiseConv(x, w)`` becomes ``DepthwiseConv(x * k, w / k)`` with ``k = max r / r`` channel by channel, ``r``
being the largest magnitude a channel of ``x`` reaches on the samples.

One grid serves all channels of an activation, so a quiet channel beside a loud one is left with few integers. Brought
to one range, every channel uses the whole grid. A depthwise convolution takes the factor back at no cost in precision:
each of its weights has one input channel, and a scale of its own. A Conv before, with nothing or a ReLU between, takes
the factor itself; else one Mul stays, which engines fuse. (The idea of cross-layer equalization, Nagel et al. 2019,
arXiv 1906.04721, where no layer before can take the factor because an activation such as SiLU stands between.)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.channels import Vector, scale_input_channels, scale_output_channels
from onnxq.errors import Declined, RecipeError
from onnxq.execute import Session
from onnxq.graph import HEAVY_OPS, Names, is_output, layout, producer, readers, sole_producer, tidy
from onnxq.inputs import Array
from onnxq.normalise import opset
from onnxq.workspace import Workspace

HOMOGENEOUS = ("Relu", "LeakyRelu")  # f(k x) = k f(x) for k > 0
FREE_DB = 1.0
QUIETEST = 2.0**-10  # of the loudest channel: a channel below is not worth a larger factor


@dataclass(frozen=True)
class BalanceActivations:
    """Balance the input of every depthwise convolution that gains at least ``gain_db`` by a Mul, or ``FREE_DB`` where
    the layer before takes the factor. ``samples``: how many are looked at."""

    gain_db: float = 10.0
    samples: int = 64
    name: ClassVar[str] = "balance_activations"
    tolerance_db: ClassVar[float] = 70.0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise RecipeError(f"samples: {self.samples} is below 1")

    def __call__(self, workspace: Workspace) -> bool:
        graph = workspace.graph
        found = _depthwise(graph)
        reaches = _reaches(workspace, sorted(found), self.samples) if found else {}
        balanced, names = 0, Names(graph)
        for tensor, nodes in found.items():
            reach = reaches.get(tensor)
            if reach is None:
                continue
            try:
                balanced += balance(graph, names, nodes, reach, self.gain_db)
            except Declined as declined:
                workspace.ledger.add("declined", self.name, nodes[0].name, str(declined), nodes[0].op)
        if balanced:
            tidy(graph)
            reason = f"the channels that {balanced} depthwise convolutions read were brought to one range"
            workspace.ledger.add("changed", self.name, "graph", reason)
        return balanced > 0


def _depthwise(graph: gs.Graph) -> dict[str, list[gs.Node]]:
    """Depthwise convolutions of constant weight by the tensor they read."""
    found: dict[str, list[gs.Node]] = {}
    for node in graph.nodes:
        where = layout(node) if node.op == "Conv" else None
        if where is not None and where.groups > 1 and node.inputs[1].shape[1] == 1:
            found.setdefault(node.inputs[0].name, []).append(node)
    return found


def _reaches(workspace: Workspace, tensors: list[str], samples: int) -> Mapping[str, Vector]:
    """The largest magnitude of each channel (axis 1) of ``tensors``; without those that reach infinity or nothing."""
    model, outputs = with_reaches(workspace.model(), tensors)
    session = Session(model)
    found: dict[str, Vector] = {}
    for batch in workspace.samples.take(samples).batches(8):
        for tensor, seen in _seen(session, batch.feeds, outputs):
            found[tensor] = np.maximum(found[tensor], seen) if tensor in found else seen
    return {tensor: reach for tensor, reach in found.items() if np.isfinite(reach).all() and reach.max() > 0}


def with_reaches(model: onnx.ModelProto, tensors: list[str]) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The model with the per-channel magnitude of ``tensors`` for outputs, and the output's name by tensor."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    outputs = {tensor: f"{tensor}/reach" for tensor in tensors}
    for tensor, output in outputs.items():
        # The spatial axes are of unknown number: [n, c, ...] is flattened to [n, c, -1].
        watched.graph.node.extend(
            [
                onnx.helper.make_node("Abs", [tensor], [f"{output}/abs"]),
                onnx.helper.make_node("Reshape", [f"{output}/abs", "onnxq/flat"], [f"{output}/flat"]),
                _maximum(opset(model), f"{output}/flat", output),
            ]
        )
        watched.graph.output.append(onnx.ValueInfoProto(name=output))
    watched.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0, 0, -1]), "onnxq/flat"))
    watched.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0, 2]), "onnxq/axes"))
    return watched, outputs


def _maximum(version: int, source: str, result: str) -> onnx.NodeProto:
    if version < 18:
        return onnx.helper.make_node("ReduceMax", [source], [result], axes=[0, 2], keepdims=0)
    return onnx.helper.make_node("ReduceMax", [source, "onnxq/axes"], [result], keepdims=0)


def _seen(
    session: Session, feeds: Mapping[str, Array], outputs: Mapping[str, str]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    answers = session.run(feeds)
    for tensor, output in outputs.items():
        yield tensor, answers[output].astype(np.float64)


def factors(reach: Vector) -> Vector:
    """``k``, [channels]: 1 for the loudest channel and for those that are always zero."""
    loudest = reach.max()
    return np.where(reach > 0, loudest / np.maximum(reach, loudest * QUIETEST), 1.0)


def gain(reach: Vector, nodes: list[gs.Node]) -> float:
    """How much less noise rounding adds to what ``nodes`` make, in dB: on one grid every channel is rounded as
    coarsely as the loudest, ``sum |w|^2 max r^2``, balanced by its own range, ``sum |w|^2 r^2``."""
    ratios = []
    for node in nodes:
        weight = np.asarray(node.inputs[1].values, np.float64).reshape(len(reach), -1)
        power = (weight**2).sum(axis=1)
        ratios.append(power.sum() * reach.max() ** 2 / max(power @ reach**2, np.finfo(np.float64).tiny))
    return float(10 * np.log10(max(ratios)))


def balance(graph: gs.Graph, names: Names, nodes: list[gs.Node], reach: Vector, gain_db: float) -> int:
    """Let ``nodes``, which read one tensor of ``reach`` [channels], read it times a factor that their weights take
    back; how many did. Raises Declined behind a Clip."""
    source = result = nodes[0].inputs[0]
    gained = gain(reach, nodes)
    if gained < FREE_DB:
        return 0
    factor = factors(reach).astype(np.float32).astype(np.float64)
    if not _absorbed(graph, source, len(nodes), factor):
        maker = producer(source)
        if gained < gain_db:
            return 0
        if maker is not None and maker.op == "Clip":
            raise Declined(
                "its channels have unlike ranges, but a Clip bounds them all; it vanishes into the quantizer"
            )
        result = _multiplied(graph, names, source, factor)
    for node in nodes:
        scale_input_channels(node, 1 / factor, np.zeros(len(factor)))
        node.inputs[0] = result
    return len(nodes)


def _absorbed(graph: gs.Graph, tensor: gs.Tensor, count: int, factor: Vector) -> bool:
    """Whether the layer that makes ``tensor`` took the factor: all ``count`` readers want it, and what stands between
    the layer and the tensor commutes with it."""
    if len(readers(tensor)) != count or is_output(graph, tensor):
        return False
    maker = producer(tensor)
    layer = sole_producer(graph, maker.inputs[0], *HEAVY_OPS) if maker and maker.op in HOMOGENEOUS else maker
    if layer is None or layer.op not in HEAVY_OPS:
        return False
    try:
        scale_output_channels(layer, factor, np.zeros(len(factor)))
    except Declined:
        return False
    return True


def _multiplied(graph: gs.Graph, names: Names, source: gs.Tensor, factor: Vector) -> gs.Variable:
    """``source`` times ``factor`` along axis 1."""
    result = gs.Variable(names.fresh(f"{source.name}/balanced"), np.float32, source.shape)
    shape = [1, -1] + [1] * (len(source.shape) - 2)
    constant = gs.Constant(names.fresh(f"{source.name}/balance"), factor.astype(np.float32).reshape(shape))
    graph.nodes.append(gs.Node("Mul", names.fresh(f"{source.name}/Balance"), {}, [source, constant], [result]))
    return result
