"""What a graph must reach for a build to go on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxq.errors import RecipeError

if TYPE_CHECKING:
    from onnxq.result import BackendResult

Figures = Mapping[str, "str | float | None"]
"""Of a backend: ``metric``, ``unit``, ``fp32`` and ``quantized``, and the share of MACs in INT8, ``int8``."""


@dataclass(frozen=True)
class Gates:
    """``max_drop``: how much less of the metric than FP32, in its unit; ``min_int8``: share of the MACs, 0 to 1."""

    max_drop: float | None = None
    min_int8: float | None = None

    def check(self, build: bool) -> None:
        """Raises RecipeError where they cannot be measured."""
        if not build and (self.max_drop is not None or self.min_int8 is not None):
            raise RecipeError("--max-drop and --min-int8 want engines, which --no-build leaves out. Drop one of them.")

    def missed(self, found: Mapping[str, Figures]) -> list[str]:
        """In words. NaN is a miss. Raises RecipeError where there is nothing to measure."""
        return [
            said
            for name, figures in found.items()
            for said in (*self._drop(name, figures), *self._share(name, figures))
        ]

    def _drop(self, name: str, figures: Figures) -> list[str]:
        before, after = figures["fp32"], figures["quantized"]
        if self.max_drop is None:
            return []
        if not isinstance(before, float) or not isinstance(after, float):
            raise RecipeError(
                "--max-drop wants what may drop: give a card that has a metric, and labels (docs/cards.md)."
            )
        if before - after <= self.max_drop:
            return []
        values = f"{figures['metric']}: {before:.2f} {figures['unit']} become {after:.2f}"
        return [f"{name}: {values}, {before - after:.2f} lost of at most {self.max_drop:g} (--max-drop)"]

    def _share(self, name: str, figures: Figures) -> list[str]:
        share = figures["int8"]
        if self.min_int8 is None or (isinstance(share, float) and share >= self.min_int8):
            return []
        said = (
            f"{100 * share:.1f} % of the MACs are INT8" if isinstance(share, float) else "how much is INT8 is not known"
        )
        return [f"{name}: {said}; {100 * self.min_int8:g} % wanted (--min-int8)"]


def figures_of(entry: "BackendResult") -> Figures:
    """Of the engine; of the graph where there is no engine that ran."""
    scores = entry.judged.scores if entry.judged is not None else None
    share = entry.built.int8_macs if entry.built is not None else None
    if scores is None:
        return {"metric": None, "unit": None, "fp32": None, "quantized": None, "int8": share}
    quantized = scores.graph if scores.engine is None else scores.engine
    return {
        "metric": scores.metric,
        "unit": scores.unit,
        "fp32": float(scores.fp32),
        "quantized": float(quantized),
        "int8": None if share is None else float(share),
    }
