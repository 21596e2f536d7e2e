"""What an engine will make of a quantized graph, told from the graph alone: refusals, layers that silently run in
float, layers that run slowly, and wrong answers. Every rule was seen to happen on the engine it is listed for."""

from collections.abc import Iterable

import onnx

from onnxq.lint.finding import SEVERITIES, Finding, Lint
from onnxq.lint.view import View


def lint(model: onnx.ModelProto, lints: Iterable[Lint]) -> tuple[Finding, ...]:
    """What the rules find in the main graph of ``model``, whose nodes all have names; the worst first."""
    view = View.of(model)
    found = dict.fromkeys(finding for rule in lints for finding in rule(view))
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))
