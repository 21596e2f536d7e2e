"""The data source ``random``: enough to run a model, never enough to judge one."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from onnxq.data.chunks import Chunk
from onnxq.errors import DataError
from onnxq.inputs import Array, Dim, InputSpec, batch_axis

SAMPLES = 16
LARGEST = 1 << 30  # bytes of one sample
SIDE = 224  # pixels, for an image whose height or width is free
CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Noise:
    """Standard normal numbers for real inputs; 0 and 1 for integers, valid as masks and as indices.

    There are ``count`` samples, from number ``first`` on."""

    inputs: tuple[InputSpec, ...]
    shapes: tuple[tuple[int, ...], ...]
    count: int
    seed: int
    labelled: bool = False
    first: int = 0

    @property
    def description(self) -> str:
        shapes = ", ".join(f"{spec.name} {list(shape)}" for spec, shape in zip(self.inputs, self.shapes, strict=True))
        return f"RANDOM NUMBERS ({shapes}): for smoke tests only, accuracy means nothing"

    def chunks(self) -> Iterator[Chunk]:
        for index in range(self.first, self.first + self.count):
            # A generator a sample: the first ten of sixteen are the first ten of a hundred.
            rng = np.random.default_rng([self.seed, index])
            pairs = zip(self.inputs, self.shapes, strict=True)
            yield Chunk("random", {spec.name: _numbers(rng, spec, shape)[None] for spec, shape in pairs})

    def part(self, start: int, stop: int) -> "Noise":
        return replace(self, count=stop - start, first=self.first + start)


def random_source(inputs: tuple[InputSpec, ...], count: int | None, seed: int) -> Noise:
    """``count`` (16 by default) random samples. Raises DataError when a free dimension cannot be guessed."""
    shapes = tuple(_shape(spec, inputs) for spec in inputs)
    for spec, shape in zip(inputs, shapes, strict=True):
        if math.prod(shape) * spec.dtype.itemsize > LARGEST:
            size = math.prod(shape) * spec.dtype.itemsize / 2**30
            raise DataError(
                f"random: one sample of input {spec.name!r}, {spec}, takes {size:.0f} GiB; the limit is "
                f"{LARGEST / 2**30:.0f} GiB. Give real data, or a smaller model."
            )
    return Noise(inputs, shapes, count or SAMPLES, seed)


def _shape(spec: InputSpec, inputs: tuple[InputSpec, ...]) -> tuple[int, ...]:
    """One sample of an input: without the common batch axis, or a whole feed where there is none."""
    if batch_axis(inputs).common:
        return tuple(_side(spec, axis) for axis in range(1, len(spec.shape)))
    batch_names = {other.shape[0] for other in inputs if other.shape and isinstance(other.shape[0], str)}
    return tuple(1 if dim in batch_names else _side(spec, axis) for axis, dim in enumerate(spec.shape))


def _side(spec: InputSpec, axis: int) -> int:
    dim: Dim = spec.shape[axis]
    if isinstance(dim, int):
        return dim
    nchw = len(spec.shape) == 4 and spec.shape[1] in CHANNELS and axis in (2, 3)
    nhwc = len(spec.shape) == 4 and spec.shape[3] in CHANNELS and axis in (1, 2)
    if spec.dtype.kind == "f" and (nchw or nhwc):
        return SIDE
    raise DataError(
        f"random: input {spec.name!r} is {spec}; its axis {axis} is free, and any length would be a guess. "
        "Give real data, as .npz, or fix the dimension in the model."
    )


def _numbers(rng: np.random.Generator, spec: InputSpec, shape: tuple[int, ...]) -> Array:
    if spec.dtype.kind == "O":
        raise DataError(f"random: input {spec.name!r} takes text, not numbers. Give real data.")
    if spec.dtype.kind in "biu":
        return rng.integers(0, 2, shape).astype(spec.dtype)
    return rng.standard_normal(shape).astype(spec.dtype)
