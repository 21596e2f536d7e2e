"""``DepthwiseConv(x, w)`` becomes ``DepthwiseConv(x * k, w / k)`` with ``k = max r / r`` channel by channel, ``r``
being the largest magnitude a channel of ``x`` reaches on the samples.

One grid serves all channels of an activation, so a quiet channel beside a loud one is left with few integers. Brought
to one range, every channel uses the whole grid. A depthwise convolution takes the factor back at no cost in precision:
each of its weights has one input channel, and a scale of its own. A Conv before, with nothing or a ReLU between, takes
the factor itself; else one Mul stays, which engines fuse. (The idea of cross-layer equalization, Nagel et al. 2019,
arXiv 1906.04721, where no layer before can take the factor because an activation such as SiLU stands between.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxq.channels import Vector, scale_input_channels, scale_output_channels
from onnxq.errors import Declined, RecipeError
from onnxq.execute import Session
from onnxq.graph import HEAVY_OPS, Names, is_output, layout, producer, readers, sole_producer, tidy
from onnxq.normalise import opset
from onnxq.planning.eligibility import is_float32
from onnxq.workspace import TOLERANCE, Workspace

HOMOGENEOUS = ("Relu", "LeakyRelu", "PRelu")  # f(k x) = k f(x) for k > 0
FREE_DB = 1.0
QUIETEST = 2.0**-12  # of the loudest channel: one below is as good as dead, and may be loud on other samples
BATCH = 8


@dataclass(frozen=True)
class BalanceActivations:
    """Balance the input of every depthwise convolution that gains at least ``gain_db`` (12 are two bits) by a Mul,
    or ``FREE_DB`` where the layer before takes the factor. ``samples``: how many are looked at."""

    gain_db: float = 13.0
    samples: int = 16
    name: ClassVar[str] = "balance_activations"
    tolerance: ClassVar[float] = TOLERANCE

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise RecipeError(f"samples: {self.samples} is below 1")

    def __call__(self, workspace: Workspace) -> bool:
        graph = workspace.graph
        found = _depthwise(graph)
        reaches = _reaches(workspace, found, self.samples) if found else {}
        balanced, names = 0, Names(graph)
        for tensor, nodes in found.items():
            try:
                balanced += balance(graph, names, nodes, _usable(reaches[tensor], tensor), self.gain_db)
            except Declined as declined:
                workspace.ledger.add("declined", self.name, nodes[0].name, str(declined), nodes[0].op)
        if balanced:
            tidy(graph)
            reason = f"the channels that {balanced} depthwise convolutions read were brought to one range"
            workspace.ledger.add("changed", self.name, "graph", reason)
        return balanced > 0


def _depthwise(graph: gs.Graph) -> dict[str, list[gs.Node]]:
    """Depthwise convolutions of constant float32 weight, which alone become integer, by the tensor they read."""
    found: dict[str, list[gs.Node]] = {}
    for node in graph.nodes:
        where = layout(node) if node.op == "Conv" else None
        weight = node.inputs[1] if where is not None and where.groups > 1 else None
        if weight is not None and weight.shape[1] == 1 and is_float32(weight):
            found.setdefault(node.inputs[0].name, []).append(node)
    return found


def _reaches(workspace: Workspace, found: Mapping[str, list[gs.Node]], samples: int) -> dict[str, Vector]:
    """The largest magnitude of each channel (axis 1) of the tensors that the layers of ``found`` read."""
    ranks = {tensor: len(nodes[0].inputs[1].shape) for tensor, nodes in found.items()}
    model, outputs = with_reaches(workspace.model(), ranks, Names(workspace.graph))
    session = Session(model)
    reaches: dict[str, Vector] = {}
    for batch in workspace.samples.take(samples).batches(workspace.batch or BATCH):
        answers = session.run(batch.feeds)
        for tensor, output in outputs.items():
            seen = answers[output].astype(np.float64).max(axis=0)
            reaches[tensor] = np.maximum(reaches[tensor], seen) if tensor in reaches else seen
    return reaches


def with_reaches(
    model: onnx.ModelProto, ranks: Mapping[str, int], names: Names
) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The model with the magnitude of every sample and channel, [n, c], of some tensors (of these ``ranks``, which
    the model may not tell) for outputs, and the output's name by tensor."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    outputs = {tensor: names.fresh(f"{tensor}/reach") for tensor in ranks}
    for tensor, output in outputs.items():
        magnitude, axes = names.fresh(f"{tensor}/magnitude"), list(range(2, ranks[tensor]))
        watched.graph.node.append(onnx.helper.make_node("Abs", [tensor], [magnitude]))
        if opset(model) < 18:
            reduce = onnx.helper.make_node("ReduceMax", [magnitude], [output], axes=axes, keepdims=0)
        else:
            given = onnx.numpy_helper.from_array(np.array(axes, np.int64), names.fresh(f"{tensor}/axes"))
            watched.graph.initializer.append(given)
            reduce = onnx.helper.make_node("ReduceMax", [magnitude, given.name], [output], keepdims=0)
        watched.graph.node.append(reduce)
        watched.graph.output.append(onnx.ValueInfoProto(name=output))
    return watched, outputs


def _usable(reach: Vector, tensor: str) -> Vector:
    if not np.isfinite(reach).all():
        raise Declined(f"the samples make its activation {tensor!r} infinite or NaN")
    return reach


def factors(reach: Vector) -> Vector:
    """``k``, [channels]: what brings a channel to the range of the loudest; 1 for those that are (almost) always zero.

    Rounded to float32, as they are stored.
    """
    alive = reach > reach.max() * QUIETEST
    return np.where(alive, reach.max() / np.where(alive, reach, 1), 1).astype(np.float32).astype(np.float64)


def gain(factor: Vector, nodes: list[gs.Node]) -> float:
    """How much less noise rounding adds to what ``nodes`` make, in dB: with one grid every channel is rounded as
    coarsely as the loudest, and what comes of it is ``sum |w|^2``; balanced, it is ``sum |w / k|^2``."""
    ratios = []
    for node in nodes:
        weight = np.asarray(node.inputs[1].values, np.float64).reshape(len(factor), -1)
        power = (weight**2).sum(axis=1)
        after = float((power / factor**2).sum())
        ratios.append(float(power.sum()) / after if after > 0 else 1.0)
    return float(10 * np.log10(max(ratios)))


def balance(graph: gs.Graph, names: Names, nodes: list[gs.Node], reach: Vector, gain_db: float) -> int:
    """Let ``nodes``, which read one tensor of ``reach`` [channels], read it times a factor that their weights take
    back; how many did. Raises Declined behind a Clip."""
    source = result = nodes[0].inputs[0]
    factor = factors(reach)
    gained = gain(factor, nodes)
    if gained < FREE_DB:
        return 0
    if not _absorbed(graph, source, len(nodes), factor):
        maker = producer(source)
        if gained < gain_db:
            return 0
        if maker is not None and maker.op == "Clip":
            raise Declined(
                "its channels have unlike ranges, but a Clip bounds them all; it vanishes into the quantizer"
            )
        result = _multiplied(graph, names, nodes[0], factor)
    for node in nodes:
        scale_input_channels(node, 1 / factor, np.zeros(len(factor)), graph)
        node.inputs[0] = result
    return len(nodes)


def _absorbed(graph: gs.Graph, tensor: gs.Tensor, count: int, factor: Vector) -> bool:
    """Whether the layer that makes ``tensor`` took the factor: all ``count`` readers want it, and what stands between
    the layer and the tensor commutes with it."""
    if len(readers(tensor)) != count or is_output(graph, tensor):
        return False
    maker = producer(tensor)
    layer = sole_producer(graph, maker.inputs[0], *HEAVY_OPS) if maker and maker.op in HOMOGENEOUS else maker
    if layer is None or layer.op not in HEAVY_OPS or layer.op == "MatMul":
        return False  # a MatMul has its channels on another axis
    try:
        scale_output_channels(layer, factor, np.zeros(len(factor)), graph)
    except Declined:
        return False
    return True


def _multiplied(graph: gs.Graph, names: Names, reader: gs.Node, factor: Vector) -> gs.Variable:
    """What ``reader`` reads times ``factor`` along axis 1."""
    source = reader.inputs[0]
    result = gs.Variable(names.fresh(f"{source.name}/balanced"), np.float32, source.shape)
    shape = [1, -1] + [1] * (len(reader.inputs[1].shape) - 2)
    constant = gs.Constant(names.fresh(f"{source.name}/balance"), factor.astype(np.float32).reshape(shape))
    graph.nodes.append(gs.Node("Mul", names.fresh(f"{source.name}/Balance"), {}, [source, constant], [result]))
    return result
