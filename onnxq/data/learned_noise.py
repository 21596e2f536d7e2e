"""Random samples that fill the range which a quantized model learned for its inputs, so that engines can be compared
where there is no data. They say nothing of accuracy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from onnxq.data.chunks import Chunk
from onnxq.data.random_data import Noise, random_source
from onnxq.inputs import Array, InputSpec
from onnxq.scheme import Range

REACH = 3.0  # standard deviations, within which nearly all normal numbers lie


@dataclass(frozen=True)
class LearnedNoise:
    """Normal numbers, stretched so that three standard deviations fill the range of an input."""

    noise: Noise
    ranges: Mapping[str, Range]
    labelled: bool = False

    @property
    def count(self) -> int:
        return self.noise.count

    @property
    def description(self) -> str:
        return "RANDOM NUMBERS within the learned ranges (accuracy needs --data)"

    def chunks(self) -> Iterator[Chunk]:
        for chunk in self.noise.chunks():
            yield replace(chunk, arrays={name: self._stretched(name, array) for name, array in chunk.arrays.items()})

    def part(self, start: int, stop: int) -> "LearnedNoise":
        return replace(self, noise=self.noise.part(start, stop))

    def _stretched(self, name: str, array: Array) -> Array:
        found = self.ranges.get(name)
        if found is None or array.dtype.kind != "f":
            return array
        low, high = float(found.low), float(found.high)
        stretched = (low + high) / 2 + array.astype(np.float64) * (high - low) / (2 * REACH)
        return np.asarray(np.clip(stretched, low, high), array.dtype)


def learned_noise(
    inputs: tuple[InputSpec, ...], ranges: Mapping[str, Range], count: int | None, seed: int
) -> LearnedNoise:
    """``count`` random samples. Raises DataError when a free dimension of an input cannot be guessed."""
    return LearnedNoise(random_source(inputs, count, seed), ranges)
