"""``y = x * factor + shift`` with constants, one number for each channel: what BatchNormalization computes, and what
Mul, Div, Add and Sub do with a constant."""

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.arrays import Vector
from onnxq.errors import Declined
from onnxq.graph import constant_operand, values

ELEMENTWISE = ("Add", "Div", "Mul", "Sub")


@dataclass(frozen=True)
class Affine:
    """``factor`` and ``shift`` are [channels of ``axis``], or of one number, for whatever axis."""

    factor: Vector
    shift: Vector
    axis: int

    @property
    def scalar(self) -> bool:
        return len(self.factor) == 1

    @property
    def pure(self) -> bool:
        """Whether it is a factor only."""
        return not np.any(self.shift)

    def for_channels(self, channels: int) -> "Affine":
        """With one number for each of so many channels, if it has one for all."""
        return (
            Affine(np.repeat(self.factor, channels), np.repeat(self.shift, channels), self.axis)
            if self.scalar
            else self
        )

    def split(self) -> tuple[Vector, "Affine"]:
        """What to add first, and the factor that follows: ``x * k + s`` is ``(x + s / k) * k``. Raises Declined."""
        if np.any((self.factor == 0) & (self.shift != 0)):
            raise Declined("a factor of 0 leaves nothing that its shift could be taken from")
        with np.errstate(over="ignore"):
            before = np.divide(self.shift, self.factor, out=np.zeros_like(self.shift), where=self.factor != 0)
        return before, self.factor_only()

    def factor_only(self) -> "Affine":
        return Affine(self.factor, np.zeros_like(self.shift), self.axis)


def along(vector: Vector, axis: int, rank: int) -> Vector:
    """``vector``, so that it is broadcast along ``axis`` of a tensor of ``rank``; one number has no axes."""
    return vector.reshape([-1 if a == axis else 1 for a in range(rank)] if len(vector) > 1 else [])


def affine(node: gs.Node) -> Affine | None:
    """What the node computes, if it is affine. Raises Declined where its numbers cannot be used."""
    return _of_norm(node) if node.op == "BatchNormalization" else _of_product_or_sum(node)


def _of_norm(norm: gs.Node) -> Affine:
    """``gamma / sqrt(var + epsilon)``, and what beta and the mean leave."""
    if norm.attrs.get("training_mode", 0) or any(not tensor.is_empty() for tensor in norm.outputs[1:]):
        raise Declined("it is in training mode")
    whats = ("scale", "bias", "mean", "variance")
    gamma, beta, mean, variance = (
        _finite(values(tensor, what), what) for tensor, what in zip(norm.inputs[1:], whats, strict=True)
    )
    spread = variance + norm.attrs.get("epsilon", 1e-5)
    if np.any(spread <= 0):
        raise Declined("its variance is not positive")
    if np.any(spread < np.finfo(np.float32).tiny):
        raise Declined("its variance is so small that engines take it for zero")
    factor = gamma / np.sqrt(spread)
    return Affine(factor, beta - mean * factor, 1)


def _of_product_or_sum(node: gs.Node) -> Affine | None:
    index = constant_operand(node) if node.op in ELEMENTWISE else None
    if index is None or (node.op == "Div" and index == 0):
        return None
    constant, shape = np.asarray(node.inputs[index].values), node.inputs[1 - index].shape
    lengths = [size for size in constant.shape if size > 1]
    if constant.dtype.kind != "f" or constant.size == 0 or len(lengths) > 1:
        return None
    if constant.ndim > (0 if shape is None else len(shape)):
        return None  # it has, or may have, more axes than what it is added to
    axis = len(shape) - constant.ndim + constant.shape.index(lengths[0]) if lengths else 0
    if lengths and isinstance(shape[axis], int) and shape[axis] != lengths[0]:
        return None  # it repeats what it is added to
    vector = _finite(constant.ravel(), "constant")
    one, none = np.ones_like(vector), np.zeros_like(vector)
    if node.op == "Mul":
        return Affine(vector, none, axis)
    if node.op == "Div":
        if np.any(vector == 0):
            raise Declined("it divides by zero")
        return Affine(1 / vector, none, axis)
    if node.op == "Add":
        return Affine(one, vector, axis)
    return Affine(one, -vector, axis) if index == 1 else Affine(-one, vector, axis)


def _finite(array: NDArray[np.generic], what: str) -> Vector:
    if not np.isfinite(array).all():
        raise Declined(f"its {what} holds NaN or infinity")
    return array.astype(np.float64)
