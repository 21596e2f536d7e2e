"""How far the outputs of graphs are from those of a reference, on samples that decided nothing about them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from onnxq.data.batches import Batch
from onnxq.execute import Session
from onnxq.inputs import Array


@dataclass
class Heard:
    """Sums of squares of float outputs, and of their error, batch by batch."""

    signal: dict[str, float] = field(default_factory=dict)
    error: dict[str, float] = field(default_factory=dict)

    def add(self, wanted: Mapping[str, Array], made: Mapping[str, Array]) -> None:
        for name, array in wanted.items():
            if array.dtype.kind == "f":
                self.signal[name] = self.signal.get(name, 0) + _power(array)
                self.error[name] = self.error.get(name, 0) + _difference(array, made[name])

    @property
    def each(self) -> dict[str, float]:
        """Error over signal in power, of every output that can be compared."""
        heard = [name for name, power in self.signal.items() if math.isfinite(power) and power > 0]
        return {name: self.error[name] / self.signal[name] for name in heard}

    @property
    def noise(self) -> float:
        """The mean over all outputs; infinite where none can be compared."""
        return mean_noise(self.each.values())


def mean_noise(each: Iterable[float]) -> float:
    """Of outputs; infinite where there are none."""
    found = list(each)
    return float(np.mean(found)) if found else math.inf


def noise(
    reference: onnx.ModelProto, models: Sequence[onnx.ModelProto], batches: Sequence[Mapping[str, Array]]
) -> list[float]:
    """Of each model the ``noise`` of its outputs.

    Each is computed as it is written, batch by batch. Raises ModelError where onnxruntime cannot run one.
    """
    wanted, sessions = Session(reference), [Session(model, optimize=False) for model in models]
    heard = [Heard() for _ in models]
    for feeds in batches:
        answers = wanted.run(feeds)
        for session, one in zip(sessions, heard, strict=True):
            one.add(answers, session.run(feeds))
    return [one.noise for one in heard]


@dataclass(frozen=True)
class Verdict:
    """Whether a change ``helps`` the outputs, and by how much, in words."""

    helps: bool
    said: str


def judged(
    reference: onnx.ModelProto, before: onnx.ModelProto, after: onnx.ModelProto, batches: Sequence[Batch]
) -> Verdict:
    """Whether the outputs of ``after`` are closer to the reference than those of ``before`` are.

    Raises ModelError where onnxruntime cannot run one.
    """
    was, now = noise(reference, (before, after), [batch.feeds for batch in batches])
    said = (
        f"SQNR of the outputs {decibels(was)} -> {decibels(now)} dB on {sum(batch.count for batch in batches)} samples"
    )
    if not math.isfinite(was):
        said = "no output can be compared on the samples, being zero, infinite, integer or of changing shape"
    return Verdict(now < was, said)


def decibels(noise: float) -> str:
    """Error over signal in power, as signal over error in dB."""
    return f"{-10 * math.log10(noise):.1f}" if noise > 0 else "inf"


def _difference(one: Array, other: Array) -> float:
    """Infinite for shapes that differ, as those of detections do."""
    if one.shape != other.shape:
        return math.inf
    with np.errstate(invalid="ignore"):
        found = _power(one.astype(np.float64) - other.astype(np.float64))
    return found if math.isfinite(found) else math.inf


def _power(array: Array) -> float:
    with np.errstate(over="ignore"):
        return float(np.sum(np.square(array.astype(np.float64))))
