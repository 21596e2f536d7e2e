"""Which tensors of a prepared graph hold what those of the same name hold in the model as it was given.

Passes that move factors from layer to layer leave names and change values. A range from outside is that of the model
as it was given, and one that is given away will be used with that model.
"""

from collections.abc import Iterable

from onnxq.execute import Session, returning
from onnxq.proof import relative_error
from onnxq.workspace import Workspace

SAME = 1e-3  # of a tensor's range: what arithmetic in another order makes of one in the middle; factors make more


def own_tensors(space: Workspace, tensors: Iterable[str]) -> frozenset[str]:
    """Those of ``tensors`` that are the model's own still, found by running both on one sample if anything was
    rewritten."""
    made = {name for node in space.source.graph.node for name in node.output}
    both = frozenset(tensors) & (made | {entry.name for entry in space.source.graph.input})
    inner = both & made & {name for name, tensor in space.graph.tensors().items() if tensor.inputs}
    if not space.rewritten or not inner:
        return both
    (part, *_) = list(space.samples.take(1).batches(1))
    before, after = (Session(returning(model, inner)).run(part.feeds) for model in (space.source, space.model()))
    changed = {name for name in inner if relative_error(before[name], after[name]) > SAME}
    return both - changed
