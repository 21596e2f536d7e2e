"""Statistics of calibration in the cache: by the model, the samples and what measured them; for any recipe."""

import json
import tempfile
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from onnxq.caching.environment import environment
from onnxq.caching.store import Store
from onnxq.errors import DataError, OutputError
from onnxq.fingerprint import fingerprint_of_samples
from onnxq.measured import Measured
from onnxq.measured_file import load_measured, save_measured
from onnxq.record import Record

KIND, FILE = "statistics", "statistics.npz"


def kept_record(store: Store, mark: str, measured: Measured) -> Record:
    """``mark``: the fingerprint of the model; ``measured``: of which samples, with nothing known of them yet."""
    store.prepare()
    known = [mark, fingerprint_of_samples(measured.samples), measured.preprocessing, environment()]
    key = sha256(json.dumps(known).encode()).hexdigest()

    def save(now: Measured) -> None:
        # Nobody's build fails because a cache is full; of its last step it is told.
        with store.alone(key), suppress(OutputError):
            before = _found(store, key, measured)
            both = now if before is None else replace(now, known={**before.known, **now.known})
            with tempfile.TemporaryDirectory(prefix="onnxq-") as folder:
                path = Path(folder) / FILE
                save_measured(both, path)
                store.put(KIND, key, {"tensors": len(both.known)}, {FILE: path})
        store.trim()

    return Record(_found(store, key, measured) or measured, save=save, cached=True)


def _found(store: Store, key: str, wanted: Measured) -> Measured | None:
    """What the cache has of the same samples in the same order."""
    entry = store.find(KIND, key)
    if entry is None:
        return None
    try:
        found = load_measured(entry.folder / FILE)
        found.check(wanted.model, wanted.samples, wanted.preprocessing)
    except DataError:
        store.drop(KIND, key)
        return None
    return replace(found, description=wanted.description)
