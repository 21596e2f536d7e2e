"""Ranges to give away: what the grids hold of the tensors that a model has under the same name."""

from collections.abc import Collection
from dataclasses import replace

from onnxq.ranges.given import tell
from onnxq.result import BackendResult
from onnxq.scheme import held


def with_ranges(result: BackendResult, own: Collection[str]) -> BackendResult:
    """The result with the range that each grid holds, of the tensors that are the model's ``own``; the ledger is told
    of the others, whose range would be wrong beside the model as it was given."""
    reason = "tensors have values that passes changed, so that their ranges are not the model's, and are not exported"
    tell(result.ledger, result.activations.keys() - set(own), reason)
    ranges = {name: held(params) for name, params in result.activations.items() if name in own}
    return replace(result, ranges=ranges)
