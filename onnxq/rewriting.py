"""A pass does its rewrites one at a time, so that each can be declined, undone and told alone."""

from collections.abc import Callable
from typing import ParamSpec

import onnx_graphsurgeon as gs

from onnxq.errors import Declined
from onnxq.graph import tidy
from onnxq.workspace import Workspace

Given = ParamSpec("Given")


def attempt(
    workspace: Workspace,
    step: str,
    node: gs.Node,
    edit: Callable[Given, bool],
    *given: Given.args,
    **named: Given.kwargs,
) -> bool:
    """Whether ``edit`` rewrote ``node`` for the pass named ``step``; why it declined to goes to the ledger.

    A rewrite that is barred, because it was found to change the function, is not tried again.
    """
    name, op = node.name, node.op  # the edit may take the node apart
    if (step, name) in workspace.barred:
        return False
    try:
        done = edit(*given, **named)
    except Declined as reason:
        workspace.ledger.add("declined", step, name, str(reason), op)
        return False
    if done:
        workspace.rewritten[(step, name)] = op
    return done


def concluded(workspace: Workspace, step: str, count: int, told: str) -> bool:
    """Whether a pass did any rewrites: what they left over is tidied away then, and the ledger is ``told``."""
    if count:
        tidy(workspace.graph)
        workspace.ledger.add("changed", step, "graph", told)
    return count > 0
