"""onnxq, for the backend onnxruntime, without building an engine: what its peers do."""

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
    **options: Any,
) -> None:
    result = onnxq.quantize(model, feeds, recipe=recipe, options=onnxq.Options(build=False, **options))
    result["onnxruntime"].save(Path(out))
