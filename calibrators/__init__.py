"""Ways to choose the range of a tensor from its statistics, one per file."""

from typing import cast

from onnxq import plugins
from onnxq.calibrators.auto import Auto
from onnxq.calibrators.calibrator import Calibrator
from onnxq.calibrators.entropy import Entropy
from onnxq.calibrators.lp import Lp
from onnxq.calibrators.mean_minmax import MeanMinMax
from onnxq.calibrators.minmax import MinMax
from onnxq.calibrators.moving_average import MovingAverage
from onnxq.calibrators.mse import Mse
from onnxq.calibrators.percentile import Percentile
from onnxq.errors import RecipeError, unknown

CALIBRATORS: dict[str, type[Calibrator]] = {
    "auto": Auto,
    "minmax": MinMax,
    "mean_minmax": MeanMinMax,
    "moving_average": MovingAverage,
    "percentile": Percentile,
    "entropy": Entropy,
    "mse": Mse,
    "lp": Lp,
}

__all__ = [
    "CALIBRATORS",
    "Auto",
    "Calibrator",
    "Entropy",
    "Lp",
    "MeanMinMax",
    "MinMax",
    "MovingAverage",
    "Mse",
    "Percentile",
    "calibrator_names",
    "calibrator_of",
]


def calibrator_names() -> tuple[str, ...]:
    """Every name ``calibrator_of`` knows, those that installed packages offer included."""
    return (*CALIBRATORS, *plugins.offered("calibrator"))


def calibrator_of(name: str) -> type[Calibrator]:
    """The calibrator of that name, or the user's own as ``module:Class``. Raises RecipeError where there is none."""
    if plugin := plugins.load("calibrator", name, CALIBRATORS, _checked):
        return plugin
    if own := plugins.imported("calibrator", name, _checked):
        return own
    if name not in CALIBRATORS:
        said = unknown("calibrator", name, calibrator_names())
        raise RecipeError(f"{said} A calibrator of your own is written module:Class.")
    return CALIBRATORS[name]


def _checked(name: str, found: object) -> type[Calibrator]:
    lacks = [f"it has no {member!r}" for member in ("histogram", "range") if not hasattr(found, member)]
    if not isinstance(found, type):
        lacks = [f"it is a {type(found).__name__}"]
    if lacks:
        raise TypeError(f"it is not a calibrator, a class with `histogram` and `range`: {lacks[0]}")
    return cast(type[Calibrator], found)
