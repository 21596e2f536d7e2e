"""SHA-256 of what goes into a model: the same content has the same one, wherever it lies and whatever its name is."""

from hashlib import sha256
from pathlib import Path

import onnx

from onnxq.errors import DataError
from onnxq.outside import mapped, outsiders, raw
from onnxq.sample_words import Words

PIECE = 2**20  # bytes read at a time


def fingerprint(model: onnx.ModelProto) -> str:
    """Of a model as it was read, with its weights, be they in it or in files beside it."""
    found = sha256()
    weights = outsiders(model)
    if weights:
        bare = onnx.ModelProto()
        bare.CopyFrom(model)
        for tensor in outsiders(bare):
            tensor.ClearField("data_location")  # a place of this machine
            tensor.ClearField("external_data")
        model = bare
    found.update(model.SerializeToString(deterministic=True))
    for tensor in weights:
        found.update(raw(mapped(tensor)))
    return found.hexdigest()


def fingerprint_of_samples(words: Words) -> str:
    """Of samples in their order, by the word of each."""
    return sha256(words.astype("<u8").tobytes()).hexdigest()


def fingerprint_of_file(path: Path) -> str:
    """What ``sha256sum`` prints. Raises DataError."""
    found = sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                found.update(piece)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    return found.hexdigest()
