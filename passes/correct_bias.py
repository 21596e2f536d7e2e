"""``y = W x + b`` of integers becomes ``W x + b + E[y float - y integer]``, channel by channel: rounding weights and
activations moves the mean of what a layer makes, and its bias takes that back at no cost (white paper, sect. 3.2; Nagel
et al. 2019, arXiv 1906.04721, sect. 4.2).

One half of the samples corrects, each quarter of them tried on the other; the other half judges the outputs of the
network, and where these come no closer to the float ones, all is undone.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx
import onnx_graphsurgeon as gs

from onnxq.biases.analytic import analytic
from onnxq.biases.measured import measured
from onnxq.biases.where import Biased, Finding, Vector, add_to_bias, biased
from onnxq.data.batches import Batch
from onnxq.errors import Declined, ModelError, RecipeError
from onnxq.graph import Names
from onnxq.held_out import noise
from onnxq.inputs import batch_axis
from onnxq.ledger import Kind
from onnxq.passes.insert_qdq import InsertQdq
from onnxq.workspace import Workspace

BATCH = 4
LARGE_BYTES = 2**18  # a sample from which on they are run one by one
FEEDS_BYTES = 32 * 2**20  # of samples that are held; further ones are left out


@dataclass(frozen=True)
class CorrectBias:
    """``method``: ``empirical``, or ``analytic`` from what batch norms tell, without looking at what layers make;
    ``samples``: how many are run."""

    method: Literal["empirical", "analytic"] = "empirical"
    samples: int = 64
    name: ClassVar[str] = "correct_bias"

    def __post_init__(self) -> None:
        if self.samples < 4:
            raise RecipeError(f"samples: {self.samples} is below 4, two to correct by and two to judge that by")

    def __call__(self, workspace: Workspace) -> bool:
        layers = self._layers(workspace)
        if not layers:
            return False
        fitting, judging = _batches(workspace, self.samples)
        if len(fitting) < 2:
            reason = "two batches of samples are needed to correct biases, and one to judge that by"
            workspace.ledger.add("declined", self.name, "graph", reason)
            return False
        reference, quantized = uncorrected(workspace), simulated(workspace)
        try:
            if self.method == "analytic":
                found = analytic(workspace, layers)
            else:
                feeds = [batch.feeds for batch in fitting]
                found = measured(reference, quantized, layers, feeds, workspace.progress)
            return self._judged(workspace, layers, found, (reference, quantized), judging)
        except ModelError as refusal:
            workspace.ledger.add("declined", self.name, "graph", f"it cannot be run part by part: {refusal}")
            return False

    def _layers(self, workspace: Workspace) -> dict[str, Biased]:
        """By the name of the node that has the bias."""
        found = {}
        for node in workspace.graph.nodes:
            try:
                layer = biased(workspace.graph, node)
            except Declined as reason:
                workspace.ledger.add("declined", self.name, node.name, f"its bias is left: {reason}", node.op)
                continue
            if layer is not None:
                found[layer.ends.name] = layer
        return found

    def _judged(
        self,
        workspace: Workspace,
        layers: Mapping[str, Biased],
        found: Mapping[str, Finding],
        models: tuple[onnx.ModelProto, onnx.ModelProto],
        judging: Sequence[Batch],
    ) -> bool:
        """Whether the biases were moved: not unless that brings the outputs of the network closer to the floats'.
        ``models``: the float and the quantized one."""
        shifts = {name: finding.shift for name, finding in found.items() if finding.shift is not None}
        if shifts:
            reference, quantized = models
            feeds = [batch.feeds for batch in judging]
            before, after = noise(reference, (quantized, simulated(workspace, shifts)), feeds)
            count = sum(batch.count for batch in judging)
            said = f"SQNR of the outputs {_db(before)} -> {_db(after)} dB on {count} samples that corrected nothing"
            if not after < before:
                if not math.isfinite(before):
                    said = (
                        "no output can be compared on the samples, being zero, infinite, integer or of changing shape"
                    )
                reason = f"undone: corrected biases of {len(shifts)} layers do not help: {said}"
                workspace.ledger.add("declined", self.name, "graph", reason)
                return False
            workspace.ledger.add("changed", self.name, "graph", f"biases of {len(shifts)} layers corrected: {said}")
        for name, finding in found.items():
            kind: Kind = "declined" if finding.shift is None else "changed"
            layer = layers[name].layer
            workspace.ledger.add(kind, self.name, layer.name, finding.reason, layer.op, finding.detail)
        move(workspace.graph, shifts)
        for name, shift in shifts.items():
            workspace.corrections[name] = workspace.corrections.get(name, 0) + shift
        return bool(shifts)


def move(graph: gs.Graph, shifts: Mapping[str, Vector]) -> None:
    """Add to biases, by the name of the node that has them."""
    names = Names(graph)
    for node in list(graph.nodes) if shifts else ():
        with suppress(Declined):
            layer = biased(graph, node)
            if layer is not None and layer.ends.name in shifts:
                add_to_bias(names, layer, shifts[layer.ends.name])


def simulated(workspace: Workspace, shifts: Mapping[str, Vector] | None = None) -> onnx.ModelProto:
    """The Q/DQ graph as the backend will get it, with some biases moved."""
    made = workspace.fork(workspace.backend)
    made.weights, made.activations = workspace.weights, workspace.activations
    move(made.graph, shifts or {})
    for step in (InsertQdq(), *workspace.backend.lowering):
        step(made)
    return made.model()


def uncorrected(workspace: Workspace) -> onnx.ModelProto:
    """The float graph, without what an earlier run of the pass added to its biases."""
    if not workspace.corrections:
        return workspace.model()
    made = workspace.fork(workspace.backend)
    move(made.graph, {name: -shift for name, shift in workspace.corrections.items()})
    return made.model()


def _batches(workspace: Workspace, count: int) -> tuple[list[Batch], list[Batch]]:
    """Samples to correct by, and samples to judge that by, in turn."""
    samples = workspace.samples.take(max(count, 4 * (batch_axis(workspace.samples.inputs).fixed or 1)))
    first = next(iter(samples.batches(1)))
    small = _bytes(first) < LARGE_BYTES
    size = min(BATCH if small else 1, workspace.batch or BATCH, max(1, (samples.count or count) // 8))
    batches: list[Batch] = []
    for batch in samples.batches(size):
        if len(batches) >= 4 and sum(map(_bytes, batches)) + _bytes(batch) > FEEDS_BYTES:
            break
        batches.append(batch)
    return batches[::2], batches[1::2]


def _bytes(batch: Batch) -> int:
    return sum(array.nbytes for array in batch.feeds.values())


def _db(noise: float) -> str:
    return f"{-10 * math.log10(noise):.1f}" if noise > 0 else "inf"
