"""Signal over error in dB against a reference's outputs, over all samples: ``10 log10(sum r^2 / sum (o - r)^2)``."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxq.errors import DataError, unknown
from onnxq.inputs import Array
from onnxq.metrics.metric import Known, reference_of
from onnxq.metrics.setting import Setting
from onnxq.validation import validated

Powers = dict[str, tuple[list[float], list[float]]]  # of signal and of error, by output, of every sample


@dataclass(frozen=True)
class Sqnr:
    """Of the output named ``output``, else of the one that has the least. An output that is not finite where the
    reference is has minus infinity."""

    output: str = ""

    name: ClassVar[str] = "sqnr"
    unit: ClassVar[str] = "dB"
    compares: ClassVar[bool] = True

    def part(self, outputs: Mapping[str, Array], known: Known) -> Powers:
        reference = reference_of(self.name, known)
        names = [name for name, array in reference.items() if array.dtype.kind == "f" and array.size]
        if self.output and self.output not in names:
            raise DataError("sqnr: " + unknown("output of floats", self.output, names))
        wanted = [self.output] if self.output else names
        return {name: _powers(name, reference[name], outputs.get(name), known.count) for name in wanted}

    def total(self, parts: Sequence[Powers]) -> float:
        if not any(parts):
            raise DataError("sqnr: the reference has no output of floats. Measure agreement, or with labels.")
        found = []
        for name in parts[0]:
            signal = math.fsum(value for part in parts for value in part[name][0])  # exact, so in any order
            noise = math.fsum(value for part in parts for value in part[name][1])
            found.append(_decibel(signal, noise))
        return min(found)


def _powers(name: str, reference: Array, other: Array | None, count: int) -> tuple[list[float], list[float]]:
    if other is None or other.shape != reference.shape:
        shown = "missing" if other is None else list(other.shape)
        raise DataError(f"output {name!r} is {shown}, and of the reference {list(reference.shape)}.")
    rows = count if reference.shape[:1] == (count,) else 1
    real, made = (array.astype(np.float64).reshape(rows, -1) for array in (reference, other))
    finite = np.isfinite(real)
    real, made = np.where(finite, real, 0), np.where(finite, made, 0)
    with np.errstate(invalid="ignore", over="ignore"):
        noise = np.square(made - real).sum(1)
    return np.square(real).sum(1).tolist(), np.where(np.isnan(noise), np.inf, noise).tolist()


def _decibel(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 and math.isfinite(noise) else -math.inf


def from_options(options: Mapping[str, object], setting: Setting) -> Sqnr:
    return validated(Sqnr, options, setting.where)
