"""onnxq quantizes ONNX models for real engines, reads back what runs in integers, and compares the answers.

    import onnxq

    result = onnxq.quantize("model.onnx", "calibration.npz", backend="openvino")
    result.save("model.int8.onnx")

Names are imported when first used, so that ``import onnxq`` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxq.calibration import calibrate
    from onnxq.checking.check import Checked, check
    from onnxq.comparing.compare import Compared, compare
    from onnxq.diagnosing.diagnose import Diagnosed, diagnose
    from onnxq.errors import (
        ClusterError,
        DataError,
        EngineError,
        EngineMissing,
        ModelError,
        OnnxqError,
        OutputError,
        RecipeError,
    )
    from onnxq.evaluating.evaluate import Evaluated, evaluate
    from onnxq.inspection.inspect import Inspected, inspect
    from onnxq.models.card import load_card
    from onnxq.options import Options
    from onnxq.pipeline import quantize
    from onnxq.preprocess import Preprocessing
    from onnxq.provenance import Provenance, read_provenance
    from onnxq.provenance.reproduce import Reproduced, reproduce
    from onnxq.recipe import Recipe, load_recipe
    from onnxq.result import BackendResult, Result
    from onnxq.retargeting.retarget import retarget
    from onnxq.samples import Samples, open_samples
    from onnxq.tuning.tune import Tuned, tune

_HOMES = {
    "onnxq.calibration": ("calibrate",),
    "onnxq.checking.check": ("Checked", "check"),
    "onnxq.comparing.compare": ("Compared", "compare"),
    "onnxq.diagnosing.diagnose": ("Diagnosed", "diagnose"),
    "onnxq.errors": (
        "ClusterError",
        "DataError",
        "EngineError",
        "EngineMissing",
        "ModelError",
        "OnnxqError",
        "OutputError",
        "RecipeError",
    ),
    "onnxq.evaluating.evaluate": ("Evaluated", "evaluate"),
    "onnxq.inspection.inspect": ("Inspected", "inspect"),
    "onnxq.models.card": ("load_card",),
    "onnxq.options": ("Options",),
    "onnxq.pipeline": ("quantize",),
    "onnxq.preprocess": ("Preprocessing",),
    "onnxq.provenance": ("Provenance", "read_provenance"),
    "onnxq.provenance.reproduce": ("Reproduced", "reproduce"),
    "onnxq.recipe": ("Recipe", "load_recipe"),
    "onnxq.result": ("BackendResult", "Result"),
    "onnxq.retargeting.retarget": ("retarget",),
    "onnxq.samples": ("Samples", "open_samples"),
    "onnxq.tuning.tune": ("Tuned", "tune"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BackendResult",
    "Checked",
    "ClusterError",
    "Compared",
    "DataError",
    "Diagnosed",
    "EngineError",
    "EngineMissing",
    "Evaluated",
    "Inspected",
    "ModelError",
    "OnnxqError",
    "Options",
    "OutputError",
    "Preprocessing",
    "Provenance",
    "Recipe",
    "RecipeError",
    "Reproduced",
    "Result",
    "Samples",
    "Tuned",
    "calibrate",
    "check",
    "compare",
    "diagnose",
    "evaluate",
    "inspect",
    "load_card",
    "load_recipe",
    "open_samples",
    "quantize",
    "read_provenance",
    "reproduce",
    "retarget",
    "tune",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'onnxq' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
