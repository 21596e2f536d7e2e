"""Statistics in a file: an .npz of numbers and one JSON text, no pickles. What is read is checked, since it may be
anybody's.

Of a histogram only the buckets that are not empty are written: mostly some thousands of 65,536.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import DataError
from onnxq.files import write_file
from onnxq.measured import Known, Measured
from onnxq.sample_extremes import LATEST, SampleExtremes
from onnxq.statistics import BUCKETS, TensorStatistics

FORMAT = 2
Arrays = dict[str, NDArray[Any]]
KINDS = {  # of the arrays beside "facts": dtype, rank
    "samples": ("<u8", 1),
    "extremes": ("<f8", 2),
    "filled": ("<i8", 1),
    "buckets": ("<u2", 1),
    "counts": ("<i8", 1),
    "single": ("<i8", 1),
    "latest": ("<f4", 2),
}


def save_measured(measured: Measured, path: Path) -> None:
    """The same statistics give the same bytes. Raises OutputError."""
    tables = {"known": measured.known, "begun": measured.begun}
    entries = [(kind, word, table[word]) for kind, table in tables.items() for word in sorted(table)]
    facts = {
        "format": FORMAT,
        "model": measured.model,
        "preprocessing": measured.preprocessing,
        "done": measured.done,
        "tensors": [[kind, word, *_sums(one)] for kind, word, one in entries],
    }
    arrays: Arrays = {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8), "samples": measured.samples}
    arrays |= _columns([one for _, _, one in entries])
    write_file(path, _npz(arrays))


def load_measured(path: Path) -> Measured:
    """Raises DataError for a file that is none of these, or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            arrays = {name: held[name] for name in ("facts", *KINDS)}
        return _read(path, arrays)
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Make it with: onnxq calibrate MODEL --data DATA -o {path}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # zipfile, zlib and numpy raise whatever they come to in a damaged file
        raise DataError(f"{path}: holds no statistics that onnxq wrote, or is damaged. Measure again.") from error


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """As ``numpy.savez_compressed``, which would write the time of day too."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.create_system = 3  # on every system: the bytes are the same
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return stream.getvalue()


def _sums(one: TensorStatistics) -> list[str | int | None]:
    """What is no array of numbers: how many samples, and the sums of their lows and highs, which are long."""
    each = one.samples
    return [None, None, None] if each is None else [each.count, hex(each.low_sum), hex(each.high_sum)]


def _columns(statistics: list[TensorStatistics]) -> Arrays:
    """Those of all tensors, one after the other; ``filled``: how many buckets of each (-1: no histogram)."""
    counts = [one.counts for one in statistics]
    places = [np.empty(0, np.intp) if count is None else np.flatnonzero(count) for count in counts]
    seen = [
        np.empty(0, np.int64) if c is None else c[at].astype(np.int64) for c, at in zip(counts, places, strict=True)
    ]
    latest = [np.zeros((0, 2), np.float32) if one.samples is None else one.samples.latest for one in statistics]
    filled = [-1 if count is None else len(at) for count, at in zip(counts, places, strict=True)]
    found = {
        "extremes": np.array([(one.low, one.high) for one in statistics]).reshape(-1, 2),
        "filled": np.array(filled, np.int64),
        "buckets": np.concatenate([*places, np.empty(0, np.intp)]),
        "counts": np.concatenate([*seen, np.empty(0, np.int64)]),
        "single": np.array([len(part) for part in latest], np.int64),
        "latest": np.concatenate([*latest, np.zeros((0, 2), np.float32)]),
    }
    return {name: array.astype(KINDS[name][0]) for name, array in found.items()}


def _read(path: Path, arrays: Arrays) -> Measured:
    for name, (dtype, rank) in KINDS.items():
        if arrays[name].dtype != dtype or arrays[name].ndim != rank:
            raise ValueError(name)
    facts = json.loads(arrays["facts"].tobytes())
    if facts["format"] != FORMAT:
        raise DataError(f"{path}: written by another version of onnxq (format {facts['format']}). Measure again.")
    tables: dict[str, dict[str, TensorStatistics]] = {"known": {}, "begun": {}}
    for (kind, word, *sums), one in zip(facts["tensors"], _statistics(arrays), strict=True):
        tables[kind][word] = _with_sums(one, sums)
    known, begun = _typed(tables["known"]), _typed(tables["begun"])
    samples = arrays["samples"].astype(np.uint64)
    return Measured(
        str(facts["model"]), samples, str(facts["preprocessing"]), known, begun, int(facts["done"]), str(path)
    )


def _typed(table: Mapping[str, TensorStatistics]) -> Known:
    if not all(isinstance(word, str) for word in table):
        raise ValueError("words")
    return table


def _statistics(arrays: Arrays) -> list[TensorStatistics]:
    filled, single = arrays["filled"], arrays["single"]
    if filled.min(initial=0) < -1 or single.min(initial=0) < 0 or single.max(initial=0) > LATEST:
        raise ValueError("sizes")
    ends, lasts = np.cumsum(np.maximum(filled, 0)), np.cumsum(single)
    whole = (ends[-1:].sum(), ends[-1:].sum(), lasts[-1:].sum())
    if (
        whole != (len(arrays["buckets"]), len(arrays["counts"]), len(arrays["latest"]))
        or arrays["counts"].min(initial=1) < 1
    ):
        raise ValueError("sizes")
    found = []
    for i, (low, high) in enumerate(arrays["extremes"].tolist()):
        at = slice(int(ends[i] - max(filled[i], 0)), int(ends[i]))
        counts = None if filled[i] < 0 else _counts(arrays["buckets"][at], arrays["counts"][at])
        latest = arrays["latest"][int(lasts[i] - single[i]) : int(lasts[i])]
        found.append(TensorStatistics(low, high, counts, SampleExtremes(0, 0, 0, latest)))
    return found


def _counts(buckets: NDArray[Any], counts: NDArray[Any]) -> NDArray[np.uint32] | NDArray[np.int64]:
    held = np.zeros(BUCKETS, np.int64)
    held[buckets] = counts
    return held.astype(np.uint32) if counts.max(initial=0) < 2**32 else held


def _with_sums(one: TensorStatistics, sums: list[Any]) -> TensorStatistics:
    count, low, high = sums
    assert one.samples is not None
    each = None if count is None else SampleExtremes(int(count), int(low, 16), int(high, 16), one.samples.latest)
    return TensorStatistics(one.low, one.high, one.counts, each)
