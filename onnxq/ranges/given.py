"""Ranges from a file, as far as they fit the graph that is calibrated; the rest is told."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from onnxq.ledger import Ledger
from onnxq.lifting.implied import not_negative
from onnxq.ranges.own_tensors import own_tensors
from onnxq.ranges.range_file import read_ranges
from onnxq.scheme import Range
from onnxq.workspace import Workspace

NAMED = 3  # of the tensors that a sentence is about


def given_ranges(space: Workspace, path: str | Path) -> dict[str, Range]:
    """By planned tensor, the range the file has for it. What cannot be used goes to the ledger. Raises DataError."""
    ranges, wanted = read_ranges(path), space.plan.watched
    own = own_tensors(space, wanted & ranges.keys())
    tell(space.ledger, ranges.keys() - space.graph.tensors().keys(), f"{path} names tensors that are not in the graph")
    tell(
        space.ledger, wanted - ranges.keys(), f"{path} lacks tensors that become integer; the samples tell their ranges"
    )
    said = f"{path} has ranges of tensors whose values passes before changed; the samples tell their ranges"
    tell(space.ledger, (wanted & ranges.keys()) - own, said)
    tensors, known = space.graph.tensors(), {id(entry): False for entry in space.graph.inputs}
    return {
        name: _one_sided(ranges[name]) if not_negative(tensors[name], space.graph.opset, known) else ranges[name]
        for name in sorted(own)
    }


def _one_sided(found: Range) -> Range:
    """The upper half of a range whose lower one is there only because the format has symmetric ranges alone."""
    return Range(np.zeros_like(found.low), found.high) if found.low == -found.high else found


def tell(ledger: Ledger, tensors: Collection[str], reason: str) -> None:
    """One line about some tensors, if there are any."""
    if tensors:
        names = sorted(tensors)
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        said = f"{reason}: {', '.join(map(repr, names[:NAMED]))}{more}"
        ledger.add("warning", "calibrate", names[0], said)
