"""What a few samples tell of every channel of a tensor: its extremes, reduced inside the graph."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from onnxq.arrays import Vector
from onnxq.execute import Session, real_samples
from onnxq.reductions import add_node, add_reduction, unused_prefix
from onnxq.workspace import Workspace

BATCH = 8
AT_ONCE = 2**20  # elements of all tensors, which stay in a cache: more would take longer, not shorter


@dataclass(frozen=True)
class ChannelStatistics:
    """The least and the largest value over samples and positions, each [channels]."""

    low: Vector
    high: Vector

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


REDUCTIONS: Mapping[str, Callable[..., Any]] = {"ReduceMin": np.min, "ReduceMax": np.max}


def channel_statistics(
    workspace: Workspace, tensors: Mapping[str, Along], samples: int | None
) -> dict[str, ChannelStatistics]:
    """Of float ``tensors`` whose first axis is the batch, over the first ``samples`` of them, or over all."""
    if not tensors:
        return {}
    model, outputs = _watched(workspace, tensors)
    session = Session(model)
    found: dict[tuple[str, str], Vector] = {}
    given = workspace.samples if samples is None else workspace.samples.take(samples)
    for batch in given.batches(workspace.batch or _batch(workspace, tensors)):
        answers = session.run(batch.feeds)
        for name, (tensor, op) in outputs.items():
            answer = answers[name] if tensors[tensor].axis == 0 else real_samples(answers[name], batch)
            seen = [answer.reshape(-1, answer.shape[-1]).astype(np.float64)]
            known = [found[tensor, op][np.newaxis]] if (tensor, op) in found else []
            found[tensor, op] = np.asarray(REDUCTIONS[op](np.concatenate(seen + known), axis=0))
    return {tensor: ChannelStatistics(*(found[tensor, op] for op in REDUCTIONS)) for tensor in tensors}


def _batch(workspace: Workspace, tensors: Mapping[str, Along]) -> int:
    """How many samples are looked at together."""
    known = workspace.graph.tensors()
    sizes = [size for name in tensors for size in (known[name].shape or [None])[1:] or [1]]
    if not all(isinstance(size, int) for size in sizes):
        return BATCH
    elements = sum(math.prod((known[name].shape or [])[1:]) for name in tensors)
    return int(min(max(AT_ONCE // max(elements, 1), 1), BATCH))


def _watched(workspace: Workspace, tensors: Mapping[str, Along]) -> tuple[onnx.ModelProto, dict[str, tuple[str, str]]]:
    """The model with reductions for outputs, [n, channels] each, and what each of them is."""
    model = workspace.model()
    prefix = unused_prefix(model.graph)
    del model.graph.output[:]
    outputs: dict[str, tuple[str, str]] = {}
    for tensor, along in tensors.items():
        axes = [axis for axis in range(1, along.rank) if axis != along.axis]
        for op in REDUCTIONS:
            output = f"{prefix}{tensor}/{op}"
            if axes:
                add_reduction(model, op, tensor, output, axes)
            else:
                add_node(model, "Identity", tensor, output)
            model.graph.output.append(onnx.ValueInfoProto(name=output))
            outputs[output] = (tensor, op)
    return model, outputs
