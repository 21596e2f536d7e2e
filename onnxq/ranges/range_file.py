"""One door to files of ranges: what the suffix and the first line say decides the format."""

from collections.abc import Mapping
from pathlib import Path

from onnxq.errors import DataError, OutputError
from onnxq.files import read_text, write_file
from onnxq.ranges import onnxruntime_json, onnxruntime_text, tensorrt_cache
from onnxq.scheme import Range

LIMIT = 64 << 20  # bytes; the ranges of a large model take a tenth of a MiB
WRITERS = {".cache": tensorrt_cache.write, ".json": onnxruntime_json.write}


def read_ranges(path: str | Path) -> dict[str, Range]:
    """The range of every tensor that the file names. Raises DataError for whatever is no such file."""
    path = Path(path)
    text = read_text(
        path,
        LIMIT,
        DataError,
        what="file of ranges",
        gone="no such file (--ranges).",
        otherwise="is not text; TensorRT's calibration cache or onnxruntime's calibration.json is wanted.",
    )
    if not text.strip():
        raise DataError(f"{path}: is empty; it has to name tensors and their ranges.")
    if tensorrt_cache.is_cache(text):
        return tensorrt_cache.read(text, str(path))
    if path.suffix == ".json" or text.lstrip().startswith(("{", "[")):
        return onnxruntime_json.read(text, str(path))
    return onnxruntime_text.read(text, str(path))


def check_ranges_format(path: Path) -> None:
    """Raises OutputError for a suffix that no format has."""
    if path.suffix not in WRITERS:
        raise OutputError(f"{path}: ranges are written as .cache (TensorRT's) or .json (onnxruntime's).")


def write_ranges(path: Path, ranges: Mapping[str, Range]) -> None:
    """Write them in the format that the suffix says. Raises OutputError."""
    check_ranges_format(path)
    write_file(path, WRITERS[path.suffix](ranges).encode())
