"""Ways to choose the range of a tensor from its statistics, one per file."""

import dataclasses
from typing import cast

from onnxq import plugins
from onnxq.calibrators.auto import Auto
from onnxq.calibrators.calibrator import Calibrator
from onnxq.calibrators.minmax import MinMax
from onnxq.calibrators.mse import Mse
from onnxq.calibrators.percentile import Percentile
from onnxq.errors import RecipeError, unknown

CALIBRATORS: dict[str, type[Calibrator]] = {"auto": Auto, "minmax": MinMax, "mse": Mse, "percentile": Percentile}

__all__ = ["CALIBRATORS", "Auto", "Calibrator", "MinMax", "Mse", "Percentile", "calibrator_names", "calibrator_of"]


def calibrator_names() -> tuple[str, ...]:
    """Every name ``calibrator_of`` knows, those that installed packages offer included."""
    return (*CALIBRATORS, *plugins.offered("calibrator"))


def calibrator_of(name: str) -> type[Calibrator]:
    """The calibrator of that name. Raises RecipeError for a name that is none."""
    if plugin := plugins.load("calibrator", name, CALIBRATORS, _checked):
        return plugin
    if name not in CALIBRATORS:
        raise RecipeError(unknown("calibrator", name, calibrator_names()))
    return CALIBRATORS[name]


def _checked(name: str, found: object) -> type[Calibrator]:
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        raise TypeError("it is not a dataclass")
    for member in ("histogram", "range"):
        if not hasattr(found, member):
            raise TypeError(f"it has no {member!r}; see onnxq.calibrators.calibrator")
    return cast(type[Calibrator], found)
