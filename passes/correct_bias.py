"""``y = W x + b`` of integers becomes ``W x + b + E[y float - y integer]``, channel by channel: rounding weights and
activations moves the mean of what a layer makes, and its bias takes that back at no cost (white paper, sect. 3.2; Nagel
et al. 2019, arXiv 1906.04721, sect. 4.2). Before an activation function an error counts as far as that passes it on.

One half of the samples corrects, each quarter of them tried on the other; the other half judges the outputs of the
network, and where these come no closer to the float ones, all is undone.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx

from onnxq.arrays import Vector
from onnxq.biases.analytic import analytic
from onnxq.biases.measured import measured
from onnxq.biases.where import Biased, Finding, bias_of, biased, set_bias
from onnxq.data.batches import Batch
from onnxq.errors import Declined, ModelError, RecipeError
from onnxq.few_samples import few
from onnxq.graph import Names
from onnxq.held_out import judged
from onnxq.ledger import Kind
from onnxq.passes.insert_qdq import InsertQdq
from onnxq.workspace import Workspace

BATCH = 4


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
        batches = few(workspace.samples, self.samples, BATCH)
        fitting, judging = batches[::2], batches[1::2]  # samples to correct by, and samples to judge that by, in turn
        if len(fitting) < 2:
            reason = "two batches of samples are needed to correct biases, and one to judge that by"
            workspace.ledger.add("declined", self.name, "graph", reason)
            return False
        # A second run starts from the biases that the first one did, and so comes to the same.
        plain = {name: workspace.uncorrected.get(name, bias_of(layer)) for name, layer in layers.items()}
        reference, quantized = with_biases(workspace, plain).model(), simulated(workspace, plain)
        try:
            found = self._findings(workspace, reference, quantized, layers, fitting)
            shifted = {name: plain[name] + one.shift for name, one in found.items() if one.shift is not None}
            if not self._helps(workspace, reference, quantized, {**plain, **shifted}, len(shifted), judging):
                found, shifted = {}, {}
        except ModelError as refusal:
            workspace.ledger.add("declined", self.name, "graph", f"it cannot be run part by part: {refusal}")
            return False
        for name, finding in found.items():
            kind: Kind = "declined" if finding.shift is None else "changed"
            layer = layers[name].layer
            workspace.ledger.add(kind, self.name, layer.name, finding.reason, layer.op, finding.detail)
        names = Names(workspace.graph)
        corrected = {**workspace.uncorrected, **shifted}
        workspace.uncorrected = {name: plain[name] for name in shifted}
        return sum(set_bias(names, layers[name], {**plain, **shifted}[name]) for name in corrected) > 0

    def _findings(
        self,
        workspace: Workspace,
        reference: onnx.ModelProto,
        quantized: onnx.ModelProto,
        layers: Mapping[str, Biased],
        fitting: Sequence[Batch],
    ) -> dict[str, Finding]:
        """By layer, what its bias should be changed by."""
        if self.method == "analytic":
            return analytic(workspace, layers)
        return measured(reference, quantized, layers, [batch.feeds for batch in fitting], workspace.progress)

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

    def _helps(
        self,
        workspace: Workspace,
        reference: onnx.ModelProto,
        quantized: onnx.ModelProto,
        biases: Mapping[str, Vector],
        count: int,
        judging: Sequence[Batch],
    ) -> bool:
        """Whether ``biases``, of which ``count`` are corrected, bring the outputs closer to the float ones."""
        if not count:
            return True
        verdict = judged(reference, quantized, simulated(workspace, biases), judging)
        if verdict.helps:
            workspace.ledger.add("changed", self.name, "graph", f"biases of {count} layers corrected: {verdict.said}")
        else:
            reason = f"undone: corrected biases of {count} layers do not help: {verdict.said}"
            workspace.ledger.add("declined", self.name, "graph", reason)
        return verdict.helps


def with_biases(workspace: Workspace, biases: Mapping[str, Vector]) -> Workspace:
    """A copy whose layers have other biases, by the name of the node that has them."""
    made = workspace.fork(workspace.backend)
    made.weights, made.activations = workspace.weights, workspace.activations
    names = Names(made.graph)
    for node in list(made.graph.nodes):
        with suppress(Declined):
            layer = biased(made.graph, node)
            if layer is not None and layer.ends.name in biases:
                set_bias(names, layer, biases[layer.ends.name])
    return made


def simulated(workspace: Workspace, biases: Mapping[str, Vector]) -> onnx.ModelProto:
    """The Q/DQ graph as the backend will get it, with these biases."""
    made = with_biases(workspace, biases)
    for step in (InsertQdq("never"), *workspace.backend.lowering):
        step(made)
    return made.model()
