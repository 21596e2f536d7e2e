"""Is it still right? FP32 against the Q/DQ graph against the engine, on data, through Polygraphy's comparator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from onnxq.comparing.figures import figures
from onnxq.comparing.sides import Side
from onnxq.errors import ModelError
from onnxq.execute import real_samples
from onnxq.inputs import Array
from onnxq.metrics import Metric
from onnxq.samples import Samples

Run = Callable[[Mapping[str, Array]], dict[str, Array]]
SAMPLES = 64  # where there is no metric: enough to tell a decibel
BYTES = 128 * 2**20  # of outputs held for a comparison


@dataclass(frozen=True)
class Likeness:
    """One output of two models: signal to error in dB, cosine, largest absolute difference, and the share of samples
    whose arg-max agrees in percent (None for an output that is not float)."""

    output: str
    sqnr_db: float
    cosine: float
    max_error: float
    agreement: float | None


@dataclass(frozen=True)
class Answers:
    """All outputs of one model over some samples, in order, and the labels that came with these."""

    outputs: dict[str, Array]
    labels: Array | None
    count: int


def answers(run: Run, samples: Samples, batch: int, step: Callable[[int], None], limit: int | None) -> Answers:
    """The model's answers on the samples, at most ``limit`` of them or 128 MiB (with ``limit=None``: all).

    Raises ModelError if outputs change shape from one batch to the next.
    """
    kept: dict[str, list[Array]] = {}
    labels: list[Array] = []
    count = held = 0
    for part in samples.batches(batch):
        made = {name: real_samples(array, part) for name, array in run(part.feeds).items()}
        for name, array in made.items():
            kept.setdefault(name, []).append(array if array.ndim else array[np.newaxis])
            held += array.nbytes
        if part.labels is not None:
            labels.append(part.labels)
        count += part.count
        step(count)
        if limit is not None and (count >= limit or held > BYTES):
            break
    try:
        joined = {name: np.concatenate(arrays) for name, arrays in kept.items()}
    except ValueError as error:
        raise ModelError(f"outputs change shape from sample to sample, so they cannot be compared: {error}") from error
    return Answers(joined, np.concatenate(labels) if labels else None, count)


def compare(reference: Answers, other: Answers) -> tuple[Likeness, ...]:
    """Each float output of ``other`` beside that of ``reference``."""
    count = min(reference.count, other.count)
    pair = [{n: a[: len(a) * count // s.count] for n, a in s.outputs.items()} for s in (reference, other)]
    names = [n for n, a in pair[0].items() if a.dtype.kind == "f" and a.size and pair[1][n].shape == a.shape]
    if not names:
        return ()
    first, second = (Side("", ({name: one[name] for name in names},)) for one in pair)
    snr, cosine, largest = (figures(first, second, figure) for figure in ("snr", "cosine_similarity", "max_absdiff"))
    return tuple(
        Likeness(name, snr[name][0], cosine[name][0], largest[name][0], _agreement(pair[0][name], pair[1][name]))
        for name in names
    )


def _agreement(reference: Array, other: Array) -> float | None:
    """Percent of rows (all but the last axis) whose largest value stands in the same place."""
    if reference.ndim < 2 or reference.shape[-1] < 2:
        return None
    return float(100 * np.mean(reference.argmax(-1) == other.argmax(-1)))


def score(metric: Metric, found: Answers) -> float | None:
    """The metric of some answers; None where no labels came with the samples."""
    return None if found.labels is None else metric.measure(found.outputs, found.labels)
