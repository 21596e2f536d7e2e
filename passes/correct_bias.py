"""``y = W x + b`` of integers becomes ``W x + b + E[y float - y integer]``, channel by channel: rounding weights and
activations moves the mean of what a layer makes, and its bias takes that back at no cost (white paper, sect. 3.2; Nagel
et al. 2019, arXiv 1906.04721, sect. 4.2).

Of the samples two thirds correct, each half of these tried on the other; the last third judges the outputs of the
network, and where these come no closer to the float ones, all is undone.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx

from onnxq.biases.analytic import analytic
from onnxq.biases.measured import measured
from onnxq.biases.where import Biased, Finding, Vector, add_to_bias, biased
from onnxq.data.batches import Batch
from onnxq.errors import Declined, ModelError, RecipeError
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
    samples: int = 96
    name: ClassVar[str] = "correct_bias"

    def __post_init__(self) -> None:
        if self.samples < 3:
            raise RecipeError(f"samples: {self.samples} is below 3, two to correct by and one to judge that by")

    def __call__(self, workspace: Workspace) -> bool:
        layers = self._layers(workspace)
        fitting, judging = _batches(workspace, self.samples)
        if not judging:
            reason = "two batches of samples are needed to correct biases, and one to judge that by"
            workspace.ledger.add("declined", self.name, "graph", reason)
            return False
        # A second run holds against the floats that the first one did.
        reference = moved(workspace, {name: -shift for name, shift in workspace.corrections.items()}).model()
        try:
            if self.method == "analytic":
                found = analytic(workspace, layers)
            else:
                feeds = [batch.feeds for batch in fitting]
                found = measured(reference, simulated(workspace), layers, feeds, workspace.progress)
            return self._judged(workspace, layers, found, reference, judging)
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
        reference: onnx.ModelProto,
        judging: Sequence[Batch],
    ) -> bool:
        """Whether the biases were moved: not unless that brings the outputs of the network closer to the floats'."""
        shifts = {name: finding.shift for name, finding in found.items() if finding.shift is not None}
        if shifts:
            models = [simulated(entry, lowered=True) for entry in (workspace, moved(workspace, shifts))]
            before, after = noise(reference, models, [batch.feeds for batch in judging])
            count = sum(batch.count for batch in judging)
            said = f"SQNR of the outputs {_db(before)} -> {_db(after)} dB on {count} samples that corrected nothing"
            if not after < before:
                reason = f"undone: corrected biases of {len(shifts)} layers help its outputs nothing: {said}"
                workspace.ledger.add("declined", self.name, "graph", reason)
                return False
            workspace.ledger.add("changed", self.name, "graph", f"biases of {len(shifts)} layers corrected: {said}")
        for name, finding in found.items():
            kind: Kind = "declined" if finding.shift is None else "changed"
            layer = layers[name].layer
            workspace.ledger.add(kind, self.name, layer.name, finding.reason, layer.op, finding.detail)
        for name, shift in shifts.items():
            add_to_bias(workspace.graph, layers[name], shift)
            workspace.corrections[name] = workspace.corrections.get(name, 0) + shift
        return bool(shifts)


def moved(workspace: Workspace, shifts: Mapping[str, Vector]) -> Workspace:
    """A copy in which some biases, by the name of the node that has them, are moved."""
    made = workspace.fork(workspace.backend)
    made.weights, made.activations = workspace.weights, workspace.activations
    for node in list(made.graph.nodes) if shifts else []:
        with suppress(Declined):
            layer = biased(made.graph, node)
            if layer is not None and layer.ends.name in shifts:
                add_to_bias(made.graph, layer, shifts[layer.ends.name])
    return made


def simulated(workspace: Workspace, lowered: bool = False) -> onnx.ModelProto:
    """The Q/DQ graph to come; ``lowered`` as the backend gets it, else with all nodes that the float graph has."""
    made = moved(workspace, {})
    for step in (InsertQdq(), *(workspace.backend.lowering if lowered else ())):
        step(made)
    return made.model()


def _batches(workspace: Workspace, count: int) -> tuple[list[Batch], list[Batch]]:
    """Samples to correct by and, of every three batches the last, samples to judge that by."""
    samples = workspace.samples.take(max(count, 3 * (batch_axis(workspace.samples.inputs).fixed or 1)))
    first = next(iter(samples.batches(1)))
    small = _bytes(first) < LARGE_BYTES
    size = min(BATCH if small else 1, workspace.batch or BATCH, max(1, (samples.count or count) // 6))
    batches: list[Batch] = []
    for batch in samples.batches(size):
        if len(batches) >= 6 and sum(map(_bytes, batches)) + _bytes(batch) > FEEDS_BYTES:
            break
        batches.append(batch)
    return [batch for at, batch in enumerate(batches) if at % 3 != 2], batches[2::3]


def _bytes(batch: Batch) -> int:
    return sum(array.nbytes for array in batch.feeds.values())


def _db(noise: float) -> str:
    return f"{-10 * math.log10(noise):.1f}" if noise > 0 else "inf"
