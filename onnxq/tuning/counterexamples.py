"""Inputs on which a quantized model answers worst: what is refused leaves some, and what comes later must do better.

Counterexample-guided search as in CEG4N (Matos et al. 2022, arXiv 2207.04231). There a verifier finds inputs at which
the answers differ; here they are looked for among samples, and around the worst of these by random steps.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from onnxq.execute import Session
from onnxq.held_out import Heard, decibels
from onnxq.inputs import Array

Feeds = dict[str, Array]

BEGUN = 4  # worst samples around which is searched
ROUNDS = 2
STEPS = 4  # that are tried in a round
RADIUS = 0.01  # of the distance from the least to the largest value of an input: about two grey levels of an image
MOST = 8  # kept


@dataclass(frozen=True)
class Counterexample:
    """One sample, or one near it: its ``number`` among those searched, what FP32 answers, and the noise (error over
    signal in power) of the model it was found for, on the ``sample`` and on the ``feeds`` near it."""

    number: int
    feeds: Feeds
    wanted: Feeds
    sample: float
    noise: float


@dataclass(frozen=True)
class Counterexamples:
    """Those of all candidates that were refused."""

    kept: tuple[Counterexample, ...] = ()

    def refusal(self, model: Session) -> str | None:
        """Why a model does not pass: on the mean over all it has as much noise as those that were refused; or None."""
        if not self.kept:
            return None
        noise = float(np.mean([_noise(one.wanted, model.run(one.feeds)) for one in self.kept]))
        least = float(np.mean([one.noise for one in self.kept]))
        if noise < least:
            return None
        told = f"{decibels(noise)} dB, and what was refused before had {decibels(least)} dB"
        return f"no better on {len(self.kept)} counterexamples: {told}"

    def with_those(self, found: Iterable[Counterexample]) -> "Counterexamples":
        """Of one input the least noise counts; of too many the noisiest are kept."""
        by_input = {_key(one): one for one in self.kept}
        for one in found:
            known = by_input.get(_key(one))
            if known is None or one.noise < known.noise:
                by_input[_key(one)] = one
        ranked = sorted(by_input.values(), key=lambda one: -one.noise)
        return Counterexamples(tuple(ranked[:MOST]))


def found(reference: Session, model: Session, samples: Sequence[Feeds]) -> list[Counterexample]:
    """The worst of ``samples``, each with what is worse around it, the noisiest first. A sample for which FP32 answers
    nothing but zeros tells nothing."""
    seen = []
    for number, feeds in enumerate(samples):
        wanted = reference.run(feeds)
        noise = _noise(wanted, model.run(feeds))
        if np.isfinite(noise):
            seen.append(Counterexample(number, feeds, wanted, noise, noise))
    worst = sorted(seen, key=lambda one: -one.noise)[:BEGUN]
    return sorted((_around(one, reference, model) for one in worst), key=lambda one: -one.noise)


def _around(one: Counterexample, reference: Session, model: Session) -> Counterexample:
    """The noisiest that random steps come to, no further from the sample than ``RADIUS``, and within its values."""
    random = np.random.default_rng(one.number)
    best = one
    for _ in range(ROUNDS):
        begun = best
        for _ in range(STEPS):
            feeds = {name: _near(begun.feeds[name], one.feeds[name], random) for name in one.feeds}
            wanted = reference.run(feeds)
            noise = _noise(wanted, model.run(feeds))
            if np.isfinite(noise) and noise > best.noise:
                best = Counterexample(one.number, feeds, wanted, one.sample, noise)
    return best


def _near(array: Array, sample: Array, random: np.random.Generator) -> Array:
    """A step of half the radius for every number; what is not a float stays."""
    if array.dtype.kind != "f" or not array.size:
        return array
    low, high = sample.min(), sample.max()
    reach = RADIUS * (high - low)
    step = (reach / 2) * random.choice(np.array([-1, 0, 1], array.dtype), array.shape)
    moved: Array = np.clip(array + step, np.maximum(sample - reach, low), np.minimum(sample + reach, high))
    return moved.astype(array.dtype, copy=False)


def _noise(wanted: Feeds, made: Feeds) -> float:
    heard = Heard()
    heard.add(wanted, made)
    return heard.noise


def _key(one: Counterexample) -> bytes:
    return b"".join(one.feeds[name].tobytes() for name in sorted(one.feeds))
