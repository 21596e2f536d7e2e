"""What is at a path, as a source of data: a file, a folder of files or of images, or a script's function."""

from pathlib import Path

from onnxq.data.arrays import open_npy, open_npz
from onnxq.data.chunks import Source
from onnxq.data.feeds import NO_PREPROCESSING, image_input
from onnxq.data.image_folder import ImageFolder
from onnxq.data.images import SUFFIXES
from onnxq.data.saved_inputs import saved_inputs
from onnxq.data.script import is_script, script_source
from onnxq.data.sources import Joined, arrays_source, single
from onnxq.errors import DataError
from onnxq.inputs import InputSpec
from onnxq.preprocess import Preprocessing

FILES = (".npz", ".npy", ".json")
ACCEPTED = "an .npz, .npy or Polygraphy .json file, a folder of these or of images, script.py:function, or random"


def stored_source(source: str | Path, inputs: tuple[InputSpec, ...], preprocessing: Preprocessing | None) -> Source:
    """The source at a path. Raises DataError when there is none or it is damaged, or OSError."""
    path = Path(source)
    if is_script(str(source)):
        return script_source(str(source))
    if path.is_dir():
        return _folder(path, inputs, preprocessing)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder. Give {ACCEPTED}.")
    return _file(path, inputs)


def _file(path: Path, inputs: tuple[InputSpec, ...]) -> Source:
    match path.suffix.lower():
        case ".npz":
            return arrays_source(str(path), open_npz(path), inputs)
        case ".npy":
            return arrays_source(str(path), single(str(path), open_npy(path), inputs), inputs)
        case ".json":
            return saved_inputs(path, inputs)
    raise DataError(f"{path}: is none of the kinds of data onnxq reads. Give {ACCEPTED}.")


def _folder(path: Path, inputs: tuple[InputSpec, ...], preprocessing: Preprocessing | None) -> Source:
    found = (file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    files = sorted(found, key=lambda file: file.name)  # Windows orders paths without regard to case
    images = tuple(file for file in files if file.suffix.lower() in SUFFIXES)
    arrays = tuple(file for file in files if file.suffix.lower() in FILES)
    if bool(images) == bool(arrays):
        said = "both; keep them apart" if images else f"neither. Valid: {', '.join(FILES + SUFFIXES)}"
        raise DataError(f"{path}: a folder of data holds images or arrays, and this one has {said}.")
    if arrays:
        joined = Joined(path.resolve().name, tuple(_file(file, inputs) for file in arrays))
        odd = [file.name for file, part in zip(arrays, joined.sources, strict=True) if not part.labelled]
        if 0 < len(odd) < len(arrays):
            raise DataError(f"{path}: {odd[0]} has no 'labels' and others do. Add them, or leave it out.")
        return joined
    if preprocessing is None:
        raise DataError(f"{path}: holds images. {NO_PREPROCESSING}")
    return ImageFolder(path, images, image_input(inputs, preprocessing))
