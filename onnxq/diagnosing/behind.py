"""Change something in a model and run only what is behind it: what is before is known, and is run once for all changes.

The nodes are in graph order. For a change whose first node is ``n`` all before ``n`` was computed once; of what it made
only those tensors are kept that ``n`` and later nodes read. Changes are asked for in the order of their first nodes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import onnx

from onnxq.diagnosing.switched import Switch
from onnxq.execute import Session
from onnxq.inputs import Array
from onnxq.piece import piece
from onnxq.reads import reads


@dataclass(frozen=True)
class Change:
    """``constants`` of other values, by name; ``on`` and ``off``: activations that become integer, or float."""

    constants: Mapping[str, onnx.TensorProto] = field(default_factory=dict)
    on: tuple[Switch, ...] = ()
    off: tuple[Switch, ...] = ()

    @property
    def nodes(self) -> dict[str, tuple[onnx.NodeProto, ...]]:
        """What stands in place of a node, by its name."""
        return {one.end: one.quantizers for one in self.on} | {one.end: (one.identity,) for one in self.off}

    @property
    def touched(self) -> set[str]:
        """The nodes that it changes."""
        return {node.name for one in (*self.on, *self.off) for node in one.quantizers}


class Behind:
    """A model over batches of samples."""

    def __init__(self, model: onnx.ModelProto, batches: Sequence[Mapping[str, Array]]) -> None:
        self._model, self._nodes, self._at = model, list(model.graph.node), 0
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._outputs = [value.name for value in model.graph.output]
        self._last = {name: at for at, node in enumerate(self._nodes) for name in reads(node)}
        self._last |= dict.fromkeys(self._outputs, len(self._nodes))
        self._kept: list[dict[str, Array]] = [dict(batch) for batch in batches]

    def first(self, change: Change) -> int:
        """The number of the first node that a change concerns."""
        touched, constants = change.touched, change.constants.keys()
        for at, node in enumerate(self._nodes):
            if node.name in touched or not constants.isdisjoint(reads(node)):
                return at
        return len(self._nodes)

    def outputs(self, change: Change) -> Iterator[dict[str, Array]]:
        """Those of the model, batch by batch. Raises ModelError where onnxruntime cannot run it."""
        start = self.first(change)
        self._advance(start)
        other = change.nodes
        nodes = [one for node in self._nodes[start:] for one in other.get(node.name, (node,))]
        made = {name for node in nodes for name in node.output}
        gives = [name for name in self._outputs if name in made]
        fed = self._outside(nodes)
        session = self._session(nodes, fed, gives, change.constants) if gives else None
        for kept in self._kept:
            answers = {name: kept[name] for name in self._outputs if name in kept}
            if session is not None:
                answers |= session.run({name: kept[name] for name in fed})
            yield answers

    def _advance(self, start: int) -> None:
        """Compute all before a node that was not yet, and forget what nothing reads from there on."""
        if start < self._at:
            raise ValueError("changes are asked for in graph order")
        nodes = self._nodes[self._at : start]
        gives = [name for node in nodes for name in node.output if self._last.get(name, -1) >= start]
        if gives:
            fed = self._outside(nodes)
            session = self._session(nodes, fed, gives, {})
            for kept in self._kept:
                kept.update(session.run({name: kept[name] for name in fed}))
        self._at = start
        for kept in self._kept:
            for name in [name for name in kept if self._last.get(name, -1) < start]:
                del kept[name]

    def _outside(self, nodes: Iterable[onnx.NodeProto]) -> list[str]:
        """What they read of what is known."""
        found = {name for node in nodes for name in reads(node)}
        return sorted(found & self._kept[0].keys())

    def _session(
        self,
        nodes: Sequence[onnx.NodeProto],
        fed: Sequence[str],
        gives: Sequence[str],
        constants: Mapping[str, onnx.TensorProto],
    ) -> Session:
        given = {name: self._kept[0][name] for name in fed}
        return Session(piece(self._model, nodes, {**self._constants, **constants}, given, gives), optimize=False)
