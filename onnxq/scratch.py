"""Room on disk for new weights of a model that is too large for memory; it is given back when the program ends."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import OutputError
from onnxq.outside import raw


def spilled(array: NDArray[Any]) -> NDArray[Any]:
    """The same numbers, read-only, in a file that is mapped into memory. Raises OutputError where there is no room."""
    folder = Path(_folder().name)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(raw(array))
    except OSError as error:
        raise OutputError(
            f"{folder}: no room for {array.nbytes:,} bytes of new weights: {error.strerror}. Let TMPDIR name a folder "
            "with as much room as the model takes."
        ) from error
    return np.asarray(np.memmap(file.name, array.dtype, "r", shape=array.shape))


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    """One for the program, removed with it; Windows keeps what is still mapped when the program ends."""
    return tempfile.TemporaryDirectory(prefix="onnxq-weights-", ignore_cleanup_errors=True)
