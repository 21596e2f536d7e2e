"""What a few samples tell of every channel of a tensor: extremes, mean and power, reduced inside the graph."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxq.execute import Session, real_samples
from onnxq.graph import Names
from onnxq.normalise import opset
from onnxq.workspace import Workspace

Vector = NDArray[np.float64]
BATCH = 8


@dataclass(frozen=True)
class ChannelStatistics:
    """``low``, ``high``, ``mean`` and ``power`` (the mean square) over samples and positions, each [channels]."""

    low: Vector
    high: Vector
    mean: Vector
    power: Vector

    @property
    def reach(self) -> Vector:
        """The largest magnitude."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.reach).all())


@dataclass(frozen=True)
class Along:
    """Where a tensor has its channels: ``axis`` of ``rank``."""

    axis: int
    rank: int


@dataclass(frozen=True)
class _Reduction:
    """An operator that reduces positions, perhaps of squares, and how its results are reduced over samples."""

    op: str
    over: Callable[..., Any]
    squared: bool = False


REDUCTIONS: Mapping[str, _Reduction] = {
    "low": _Reduction("ReduceMin", np.min),
    "high": _Reduction("ReduceMax", np.max),
    "mean": _Reduction("ReduceMean", np.average),
    "power": _Reduction("ReduceMean", np.average, squared=True),
}


def channel_statistics(
    workspace: Workspace, tensors: Mapping[str, Along], samples: int | None
) -> dict[str, ChannelStatistics]:
    """Of float ``tensors`` whose first axis is the batch, over the first ``samples`` of them, or over all."""
    if not tensors:
        return {}
    model, outputs = _watched(workspace, tensors)
    session = Session(model)
    parts: dict[str, list[Vector]] = {name: [] for name in outputs}
    given = workspace.samples if samples is None else workspace.samples.take(samples)
    counts: list[int] = []
    for batch in given.batches(workspace.batch or BATCH):
        answers = session.run(batch.feeds)
        counts.append(batch.count)
        for name, (tensor, kind) in outputs.items():
            answer = answers[name] if tensors[tensor].axis == 0 else real_samples(answers[name], batch)
            seen = answer.reshape(-1, answer.shape[-1]).astype(np.float64)
            parts[name].append(np.asarray(REDUCTIONS[kind].over(seen, axis=0)))
    found = {entry: _over_batches(entry[1], parts[name], counts) for name, entry in outputs.items()}
    return {tensor: ChannelStatistics(*(found[tensor, kind] for kind in REDUCTIONS)) for tensor in tensors}


def _over_batches(kind: str, parts: list[Vector], counts: list[int]) -> Vector:
    weights = {"weights": counts} if REDUCTIONS[kind].over is np.average else {}
    return np.asarray(REDUCTIONS[kind].over(np.stack(parts), axis=0, **weights))


def _watched(workspace: Workspace, tensors: Mapping[str, Along]) -> tuple[onnx.ModelProto, dict[str, tuple[str, str]]]:
    """The model with reductions for outputs, [n, channels] each, and what each of them is."""
    model, names = workspace.model(), Names(workspace.graph)
    del model.graph.output[:]
    outputs: dict[str, tuple[str, str]] = {}
    for tensor, along in tensors.items():
        axes = [axis for axis in range(1, along.rank) if axis != along.axis]
        squares = names.fresh(f"{tensor}/squares")
        model.graph.node.append(onnx.helper.make_node("Mul", [tensor, tensor], [squares]))
        for kind, reduction in REDUCTIONS.items():
            output = names.fresh(f"{tensor}/{kind}")
            source = squares if reduction.squared else tensor
            model.graph.node.append(_reduce(model, names, reduction.op, source, axes, output))
            model.graph.output.append(onnx.ValueInfoProto(name=output))
            outputs[output] = (tensor, kind)
    return model, outputs


def _reduce(model: onnx.ModelProto, names: Names, op: str, tensor: str, axes: list[int], output: str) -> onnx.NodeProto:
    """Reduced over ``axes``, which opset 18 made an input."""
    if not axes:
        return onnx.helper.make_node("Identity", [tensor], [output])
    if opset(model) < 18:
        return onnx.helper.make_node(op, [tensor], [output], axes=axes, keepdims=0)
    given = onnx.numpy_helper.from_array(np.array(axes, np.int64), names.fresh(f"{output}/axes"))
    model.graph.initializer.append(given)
    return onnx.helper.make_node(op, [tensor, given.name], [output], keepdims=0)
