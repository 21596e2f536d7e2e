"""``W x + b`` becomes ``W (x - c) + (b + W c)`` where ``x``, as it is fed, is lopsided: pixels of 0 to 255, say, which
leave half of a grid unused that has to be symmetric. ``c`` is the middle of the range that a grid with a zero point
would have. Zeros that the layer pads are padded before.

For engines without zero points. What layers make is left alone: a sum there would be between them and what fuses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.calibrators.mse import Mse
from onnxq.channels import activation, input_channels, scale_input_channels
from onnxq.errors import Declined
from onnxq.graph import HEAVY_OPS, VIEWS, Names, layout, producer
from onnxq.lean import Lean
from onnxq.rewriting import attempt, concluded
from onnxq.scheme import ActivationSchemes, Range, Scheme
from onnxq.watching import Values, watch
from onnxq.workspace import TOLERANCE, Workspace

MOVES = VIEWS | {"Concat", "Pad", "Slice", "Split", "Transpose"}
SAMPLES = 64
LESS = 0.8  # of the reach it had: a centered input has steps at most so wide
SYMMETRIC = ActivationSchemes.always(Scheme(signed=True, symmetric=True))
LOPSIDED = ActivationSchemes.always(Scheme(signed=False, symmetric=False))


@dataclass(frozen=True)
class CenterInputs:
    """Center what layers read that nothing has computed."""

    name: ClassVar[str] = "center_inputs"
    sampled: ClassVar[bool] = True
    tolerance: ClassVar[float] = TOLERANCE

    def __call__(self, workspace: Workspace) -> bool:
        fed = {node.name: node for node in workspace.graph.nodes if _reads_what_is_fed(node)}
        middles = _middles(workspace, {node.inputs[activation(node)].name for node in fed.values()})
        done = 0
        for node in fed.values():
            middle = middles.get(node.inputs[activation(node)].name)
            if middle is not None:
                done += attempt(workspace, self.name, node, center, workspace, node, middle)
        told = f"lopsided inputs centered around zero in front of {done} layers, since grids have no zero points"
        return concluded(workspace, self.name, done, told)


def _reads_what_is_fed(node: gs.Node) -> bool:
    if node.op not in HEAVY_OPS or layout(node) is None:
        return False
    pending, fed = [node.inputs[activation(node)]], False
    while pending:
        tensor = pending.pop()
        maker = producer(tensor)
        if maker is None:
            if isinstance(tensor, gs.Constant) or tensor.dtype != np.float32:
                return False
            fed = True
        elif maker.op not in MOVES:
            return False
        else:
            pending += maker.inputs if maker.op == "Concat" else maker.inputs[:1]
    return fed


def _middles(workspace: Workspace, tensors: set[str]) -> Mapping[str, float]:
    """Of the tensors that would have narrower steps around their middle."""
    if not tensors:
        return {}
    seen = watch(
        _up_to(workspace, tensors),
        {name: Values(name) for name in sorted(tensors)},
        workspace.samples.take(SAMPLES),
        batch=workspace.batch,
    )
    found = {}
    for name, statistics in seen.items():
        if statistics.finite and statistics.excited:
            now, then = (Mse().range(statistics, schemes) for schemes in (SYMMETRIC, LOPSIDED))
            if float(then.high - then.low) / 2 < LESS * _reach(now):
                found[name] = float(then.high + then.low) / 2
    return found


def _up_to(workspace: Workspace, tensors: set[str]) -> Lean:
    """The model without what is computed of the tensors: onnxruntime would compute it, wanted or not."""
    graph = workspace.graph.copy()
    known = graph.tensors()
    graph.outputs = [known[name] for name in sorted(tensors)]
    return Lean.export(graph.cleanup(), workspace.source)


def _reach(found: Range) -> float:
    return float(max(-found.low, found.high))


def center(workspace: Workspace, node: gs.Node, middle: float) -> bool:
    """Raises Declined where the layer cannot take the shift into a bias."""
    graph, index = workspace.graph, activation(node)
    pads, attrs = _pads(node), dict(node.attrs)
    if pads:
        node.attrs["pads"] = [0] * len(pads)
    channels = input_channels(node)
    try:
        scale_input_channels(node, np.ones(channels), np.full(channels, middle), graph)
    except Declined:
        node.attrs.update(attrs)
        raise
    source = node.inputs[index]
    if pads:
        half = len(pads) // 2
        sizes = np.array([0, 0, *pads[:half], 0, 0, *pads[half:]], np.int64)
        source = _behind(graph, node, "Pad", source, sizes)
    node.inputs[index] = _behind(graph, node, "Sub", source, np.array(middle, np.float32))
    return True


def _behind(graph: gs.Graph, node: gs.Node, op: str, source: gs.Tensor, constant: NDArray[np.generic]) -> gs.Variable:
    """What a new node in front of ``node`` makes of ``source`` and a constant."""
    names = Names(graph)
    made = gs.Variable(names.fresh(f"{node.name}/{op.lower()}"), source.dtype)
    given = gs.Constant(names.fresh(f"{node.name}/{op.lower()}_by"), constant)
    graph.nodes.append(gs.Node(op, names.fresh(f"{node.name}/{op}"), {}, [source, given], [made]))
    return made


def _pads(node: gs.Node) -> list[int]:
    """Of a Conv, in the order of ONNX; none where it pads nothing. Raises Declined where that depends on the image."""
    if node.attrs.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        raise Declined("how much it pads depends on the size of the image")
    pads = [int(pad) for pad in node.attrs.get("pads", [])]
    return pads if any(pads) else []
