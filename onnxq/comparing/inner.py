"""Layer by layer: how far tensors that both graphs have are apart, each graph computed node by node, as it is written.

Engines are not asked: what is marked as an output is not fused there, and another model would be measured. A rewrite
that moves factors from channel to channel, such as equalization, keeps the names of tensors whose values it scales:
where a factor for each channel explains nearly all that differs, the rest is measured and the tensor is told. Outputs
of the model have no such excuse.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxq.channels import channel_axis
from onnxq.execute import Session, returning
from onnxq.inputs import Array

RESCALED = 10.0  # dB that factors must explain: noise they explain by 1 at most


@dataclass(frozen=True)
class Layer:
    """A tensor, the operator that makes it in the second graph, its signal to error in dB over all samples, and whether
    its channels were ``rescaled``, which is not counted then."""

    tensor: str
    operator: str
    sqnr_db: float
    rescaled: bool


def layers(first: onnx.ModelProto, second: onnx.ModelProto, feeds: Iterable[Mapping[str, Array]]) -> tuple[Layer, ...]:
    """Of float tensors of one name and one shape, in the order of the second graph."""
    ours = {name for node in first.graph.node for name in node.output if name}
    makers = {name: node.op_type for node in second.graph.node for name in node.output if name in ours}
    if not makers:
        return ()
    sessions = [Session(returning(model, makers), optimize=False) for model in (first, second)]
    known: dict[str, NDArray[np.float64]] = {}
    odd: set[str] = set()
    for feed in feeds:
        a, b = (session.run(feed) for session in sessions)
        for name in makers.keys() - odd:
            if a[name].shape != b[name].shape or not a[name].dtype.kind == b[name].dtype.kind == "f":
                odd.add(name)
            else:
                known[name] = known.get(name, 0) + _products(a[name], b[name])
    outputs = {value.name for value in first.graph.output}
    return tuple(_layer(name, makers[name], known[name], name in outputs) for name in makers if name not in odd)


def _products(a: Array, b: Array) -> NDArray[np.float64]:
    """[3, channels]: sums of a a, a b and b b. Channels are the second axis of images, else the last."""
    axis = channel_axis(a.ndim)
    rows = [np.moveaxis(np.atleast_1d(x), axis, 0).reshape(np.atleast_1d(x).shape[axis], -1) for x in (a, b)]
    x, y = (row.astype(np.float64) for row in rows)
    return np.stack([np.einsum("cn,cn->c", *pair) for pair in ((x, x), (x, y), (y, y))])


def _layer(tensor: str, operator: str, products: NDArray[np.float64], output: bool) -> Layer:
    aa, ab, bb = products
    plain = _db(aa.sum(), (aa - 2 * ab + bb).sum())
    scaled = _db(aa.sum(), (aa - np.divide(ab**2, bb, out=np.zeros_like(bb), where=bb > 0)).sum())
    rescaled = scaled > plain + RESCALED and not output
    return Layer(tensor, operator, scaled if rescaled else plain, rescaled)


def _db(signal: float, error: float) -> float:
    if not error > signal * np.finfo(np.float64).eps:  # NaN is not more, and not less
        return np.nan if np.isnan(error) else np.inf
    return float(10 * np.log10(signal / error)) if signal else -np.inf
