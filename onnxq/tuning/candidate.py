"""A recipe to try, and what came of it."""

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

from onnxq.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Candidate:
    """``said``: how it differs from the recipe that the search began with."""

    said: str
    recipe: Recipe

    @cached_property
    def word(self) -> str:
        """The same for the same recipe."""
        text = json.dumps(self.recipe.written(), sort_keys=True, default=str)
        return blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """``value`` of the metric, and how much was ``lost`` of FP32's; ``int8``: the share of multiply-accumulates in
    INT8, as the engine says, or as planned where none ran; ``noise``: error over signal in power, of the outputs on a
    few samples; ``size`` of the graph in bytes; each None where it is not known. ``keeps``: whether no more is lost
    than may be; ``problem``: why it was not measured; ``worst``: the most noise that a single input has, found among
    the samples or near one."""

    said: str
    word: str
    value: float | None = None
    lost: float | None = None
    int8: float | None = None
    noise: float | None = None
    size: int | None = None
    keeps: bool = False
    problem: str | None = None
    worst: float | None = None
    seconds: float = 0.0

    def better(self, than: "Outcome | None") -> bool:
        """Whether it is to be kept in place of another: the accuracy first, then work in integers, size, and noise."""
        if self.lost is None:
            return False
        if than is None or than.lost is None:
            return True
        if self.keeps and than.keeps:
            return self._merits > than._merits
        return self.keeps or (not than.keeps and self.lost < than.lost)

    @property
    def _merits(self) -> tuple[float, int, float]:
        return self.int8 or 0.0, -(self.size or 0), -(self.noise or 0.0)
