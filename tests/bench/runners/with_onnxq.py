"""onnxq, for the backend onnxruntime if no other is asked for, without building an engine: what its peers do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import onnxq


def quantize(
    model: str,
    feeds: Sequence[Mapping[str, np.ndarray]],
    out: str,
    recipe: Mapping[str, object] | None = None,
    backend: str = "onnxruntime",
    **options: Any,
) -> None:
    asked = onnxq.Options(build=False, **options)
    result = onnxq.quantize(model, feeds, backend=backend, recipe=recipe, options=asked)
    result[backend].save(Path(out))
