"""Work and results as bytes: pickles, as all that Dask carries, with little in them.

A histogram of 65,536 buckets is mostly zeros, so of such an array only what is not zero is written. Paths are made
absolute, since a worker stands in a folder of its own.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
from numpy.typing import NDArray

LONG = 1024  # numbers; what is shorter is written as it is


def packed(value: object) -> bytes:
    """``value`` as bytes."""
    return packed_with_paths(value)[0]


def packed_with_paths(value: object) -> tuple[bytes, frozenset[Path]]:
    """``value`` as bytes, and the paths in it."""
    with io.BytesIO() as stream:
        packer = _Packer(stream, pickle.HIGHEST_PROTOCOL)
        packer.dump(value)
        return stream.getvalue(), frozenset(packer.paths)


def unpacked(parcel: bytes) -> Any:
    """What was packed, byte for byte."""
    return pickle.loads(parcel)


class _Packer(cloudpickle.Pickler):  # type: ignore[misc]  # it is not typed
    """Classes of a script go along with it, as elsewhere in Dask."""

    def __init__(self, stream: io.BytesIO, protocol: int) -> None:
        super().__init__(stream, protocol)
        self.paths: set[Path] = set()

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Path):
            self.paths.add(value.absolute())
            return Path, (str(value.absolute()),)
        if isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.ndim == 1 and value.size >= LONG:
            places = np.flatnonzero(value)
            if 2 * places.size < value.size:
                return _filled, (value.size, value.dtype, places.astype(np.uint32), value[places])
        return super().reducer_override(value)


def _filled(size: int, dtype: np.dtype[Any], places: NDArray[np.uint32], values: NDArray[Any]) -> NDArray[Any]:
    """Zeros, but for the ``values`` at ``places``."""
    array = np.zeros(size, dtype)
    array[places] = values
    return array
