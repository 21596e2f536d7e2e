"""What a model tells of where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import NonNegativeInt


@dataclass(frozen=True)
class Given:
    """SHA-256 of what went in: the ``model`` with its weights; the ``samples``, ``count`` of them, as they reached the
    model; ``statistics``, where these were measured on other samples; and ``ranges`` that were taken from a file.

    ``seed``: of samples that were random numbers; ``preprocessing``: of images, what was said of it.
    """

    model: str
    samples: str = ""
    count: NonNegativeInt = 0
    seed: NonNegativeInt | None = None
    preprocessing: Mapping[str, object] | None = None
    statistics: str | None = None
    ranges: str | None = None


@dataclass(frozen=True)
class Accuracy:
    """Of the graph, simulated, against the float model: the worst output's SQNR over ``samples`` samples, in dB (None:
    no float output; infinite: as text), and the metric of both, if there is one. All rounded: sums of floats differ in
    their last digits from one machine to the next."""

    samples: int
    sqnr_db: float | str | None = None
    metric: str | None = None
    unit: str | None = None
    fp32: float | None = None
    graph: float | None = None


@dataclass(frozen=True)
class Provenance:
    """``command``: quantize or retarget; ``backend``: whose graph it is, made together with those of all ``backends``;
    ``reduce_range``: weights of 7 bits in place of 8; ``recipe``: as YAML, every option spelled out."""

    command: str
    backend: str
    backends: tuple[str, ...]
    recipe: str
    given: Given
    versions: Mapping[str, str] = field(default_factory=dict)
    reduce_range: bool = False
    accuracy: Accuracy | None = None
