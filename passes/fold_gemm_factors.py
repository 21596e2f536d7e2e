"""``Gemm<alpha, beta>(x, w, b)`` becomes ``Gemm(x, alpha * w, beta * b)``.

onnxruntime has an integer Gemm only without factors.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Names, give, has_bias, values
from onnxq.rewriting import attempt, concluded
from onnxq.workspace import TOLERANCE, Workspace


@dataclass(frozen=True)
class FoldGemmFactors:
    """Fold the factors of every Gemm into its constants."""

    name: ClassVar[str] = "fold_gemm_factors"
    tolerance: ClassVar[float] = TOLERANCE

    def __call__(self, workspace: Workspace) -> bool:
        names, gemms = Names(workspace.graph), [node for node in workspace.graph.nodes if node.op == "Gemm"]
        folded = sum(attempt(workspace, self.name, node, fold, names, node) for node in gemms)
        return concluded(workspace, self.name, folded, f"the factors of {folded} Gemm folded into their constants")


def fold(names: Names, node: gs.Node) -> bool:
    """Whether there were factors to fold. Raises Declined."""
    if not has_bias(node):
        node.attrs.pop("beta", None)  # a factor of nothing
    found = {attr: index for attr, index in (("alpha", 1), ("beta", 2)) if node.attrs.get(attr, 1.0) != 1.0}
    constants = {attr: values(node.inputs[index], ("weight", "bias")[index - 1]) for attr, index in found.items()}
    for attr, constant in constants.items():
        product = (constant.astype(np.float64) * node.attrs.pop(attr)).astype(constant.dtype)
        give(node, found[attr], product, names.fresh(f"{node.inputs[found[attr]].name}/{attr}"))
    return bool(found)
