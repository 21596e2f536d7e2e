"""How far the outputs of graphs are from those of a reference, on samples that decided nothing about them."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from onnxq.execute import Session
from onnxq.inputs import Array


def noise(
    reference: onnx.ModelProto, models: Sequence[onnx.ModelProto], batches: Sequence[Mapping[str, Array]]
) -> list[float]:
    """Of each model: error over signal in power, the mean over all float outputs; infinite where none can be compared.

    Each is computed as it is written, batch by batch. Raises ModelError where onnxruntime cannot run one.
    """
    wanted, sessions = Session(reference), [Session(model, optimize=False) for model in models]
    signal: dict[str, float] = {}
    errors: list[dict[str, float]] = [{} for _ in models]
    for feeds in batches:
        answers = {name: array for name, array in wanted.run(feeds).items() if array.dtype.kind == "f"}
        for name, array in answers.items():
            signal[name] = signal.get(name, 0) + _power(array)
        for session, error in zip(sessions, errors, strict=True):
            made = session.run(feeds)
            for name, array in answers.items():
                error[name] = error.get(name, 0) + _difference(array, made[name])
    heard = [name for name, power in signal.items() if math.isfinite(power) and power > 0]
    return [float(np.mean([error[name] / signal[name] for name in heard])) if heard else math.inf for error in errors]


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
