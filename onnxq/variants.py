"""What came of a recipe with some of its passes left out: a table of what each of them brought."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """One backend's Q/DQ graph: its worst output's SQNR against FP32 in dB, the metric's ``score``, how many ``nodes``
    it has, and the ``seconds`` of its passes and of the calibration, which all backends share.

    ``brought_db`` and ``brought``: what the whole recipe's graph has more, so what the passes left out bring;
    ``same_graph``: it is the whole recipe's graph; ``problem``: why there is none.
    """

    sqnr_db: float | None = None
    score: float | None = None
    nodes: int | None = None
    seconds: float | None = None
    brought_db: float | None = None
    brought: float | None = None
    same_graph: bool = False
    problem: str | None = None


@dataclass(frozen=True)
class Variant:
    """A recipe ``without`` some passes (none: the whole recipe), and what each backend made of it."""

    without: tuple[str, ...]
    backends: Mapping[str, Outcome]


@dataclass(frozen=True)
class Ablation:
    """The whole recipe first; then without each of its optional passes, and without all of them if there are several.

    ``samples``: how many each graph was judged on; ``metric`` and ``unit`` are empty where there is none.
    """

    samples: int
    metric: str
    unit: str
    variants: tuple[Variant, ...]
