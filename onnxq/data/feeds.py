"""Make a chunk of data a feed of the model, or say why it is none: names, dtypes, shapes, finite numbers."""

from collections.abc import Iterator, Sequence

import numpy as np

from onnxq.data.batches import Batch, Piece
from onnxq.data.chunks import Chunk, word
from onnxq.errors import DataError, RecipeError, unknown
from onnxq.inputs import Array, Dim, InputSpec, batch_axis
from onnxq.preprocess import Preprocessing

IMAGES = "images"  # what raw pixels may be called, whatever the model calls its input


def pieces(
    chunk: Chunk, inputs: Sequence[InputSpec], preprocessing: Preprocessing | None, start: int
) -> Iterator[Piece]:
    """The chunk as checked pieces; its first sample is number ``start`` of all.

    An array of the rank of its input has the model's batch axis as axis 0. Where one has a rank more, or the
    inputs have no common batch axis, each sample is a feed by itself. Raises DataError.
    """
    if chunk.count == 0:
        return
    target = None if preprocessing is None else image_input(inputs, preprocessing)
    arrays = _named(chunk, inputs, target)
    for spec in inputs:
        pixels = preprocessing if spec.name == target else None
        arrays[spec.name] = _typed(arrays[spec.name], spec, chunk, pixels)
    arrays = {spec.name: arrays[spec.name] for spec in inputs}
    batch = Batch(arrays, chunk.labels, chunk.count, start)
    if chunk.worth:
        yield _checked(batch, inputs, chunk.where, whole=True)
    elif not batch_axis(inputs).common or any(arrays[s.name].ndim == len(s.shape) + 1 for s in inputs):
        for index in range(chunk.count):
            yield _checked(_alone(batch, inputs, index), inputs, chunk.where, whole=True)
    else:
        yield _checked(batch, inputs, chunk.where, whole=False)


def image_input(inputs: Sequence[InputSpec], preprocessing: Preprocessing) -> str:
    """The input that takes the preprocessed images. Raises RecipeError when it is not clear which."""
    names = [spec.name for spec in inputs]
    if preprocessing.input is None and len(names) > 1:
        raise RecipeError(
            f"preprocessing: the model has {len(names)} inputs; name the one for images, "
            f"as {{input: {names[0]}}}. Valid: {', '.join(names)}."
        )
    name = preprocessing.input or names[0]
    if name not in names:
        raise RecipeError("preprocessing: " + unknown("input", name, names))
    return name


def _alone(batch: Batch, inputs: Sequence[InputSpec], index: int) -> Batch:
    """Sample ``index`` as a feed by itself: an array of a rank more than its input loses axis 0."""
    feeds = {}
    for spec in inputs:
        array = batch.feeds[spec.name]
        whole = array.ndim > len(spec.shape)
        feeds[spec.name] = np.asarray(array[index] if whole else array[index : index + 1])
    labels = None if batch.labels is None else batch.labels[index : index + 1]
    return Batch(feeds, labels, 1, batch.start + index, alone=labels is None)


def _named(chunk: Chunk, inputs: Sequence[InputSpec], target: str | None) -> dict[str, Array]:
    names = [spec.name for spec in inputs]
    arrays = dict(chunk.arrays)
    if IMAGES in arrays and IMAGES not in names:
        if target is None:
            raise DataError(
                f"{chunk.where}: {IMAGES!r} is no input of the model, so it must be raw pixels. " + NO_PREPROCESSING
            )
        arrays.setdefault(target, arrays.pop(IMAGES))
    for name in arrays:
        if name not in names:
            raise DataError(f"{chunk.where}: " + unknown("input", name, names))
    for spec in inputs:
        if spec.name not in arrays:
            raise DataError(
                f"{chunk.where}: no array for input {spec.name!r}, {spec}. Add it under that name; "
                f"there is: {', '.join(sorted(arrays)) or 'nothing'}."
            )
    return arrays


NO_PREPROCESSING = (
    "Say how images become inputs: preprocessing=... in Python, --preprocess on the command line; "
    "for example imagenet, or '{resize: 224, scale: 0.00392157}'."
)


def _typed(array: Array, spec: InputSpec, chunk: Chunk, preprocessing: Preprocessing | None) -> Array:
    if preprocessing is not None and array.dtype == np.uint8 and not chunk.worth:
        return _preprocessed(array, spec, chunk, preprocessing)
    if array.dtype == spec.dtype:
        return array
    exact = array.dtype.kind == spec.dtype.kind and np.can_cast(array.dtype, spec.dtype, "safe")
    if exact or (array.dtype == np.float64 and spec.dtype == np.float32):
        with np.errstate(over="ignore"):  # what overflows is found when the numbers are checked
            return array.astype(spec.dtype)
    pixels = array.dtype == np.uint8 and spec.dtype.kind == "f"
    way_out = NO_PREPROCESSING if pixels else f"Save it with array.astype({str(spec.dtype)!r})."
    raise DataError(f"{chunk.where}: input {spec.name!r} is {word(array)}; the model wants {spec}. {way_out}")


def _preprocessed(pixels: Array, spec: InputSpec, chunk: Chunk, preprocessing: Preprocessing) -> Array:
    images = pixels.astype(np.uint8, copy=False)
    try:
        made = preprocessing.apply(images[..., None] if images.ndim == 3 else images)
    except DataError as error:
        raise DataError(f"{chunk.where}: input {spec.name!r}: {error}") from error
    with np.errstate(invalid="ignore", over="ignore"):  # compared below, or checked to be finite later
        cast: Array = made.astype(spec.dtype, copy=False)
    if spec.dtype.kind != "f" and not np.array_equal(cast, made):
        raise DataError(
            f"{chunk.where}: input {spec.name!r} wants {spec}, and the preprocessing makes other numbers "
            "of the pixels. Leave out 'scale', 'mean' and 'std'."
        )
    return cast


def _checked(batch: Batch, inputs: Sequence[InputSpec], where: str, whole: bool) -> Piece:
    """The batch, when its shapes are the model's (but for the length of the batch) and its numbers finite."""
    for spec in inputs:
        array = batch.feeds[spec.name]
        wanted = spec.shape if whole else (None, *spec.shape[1:])
        if not _fits(array.shape, wanted):
            raise DataError(
                f"{where}: input {spec.name!r} is {word(array)}; the model wants {spec}. "
                + _way_out(array.shape, spec.shape)
            )
        finite = np.isfinite(array) if array.dtype.kind == "f" else np.True_
        if not np.all(finite):
            bad = 0 if whole else int(np.argmin(np.reshape(finite, (len(array), -1)).all(1)))
            raise DataError(
                f"{where}: sample {batch.start + bad} (from 0) of input {spec.name!r} holds "
                "NaN or infinity. Repair it or leave it out."
            )
    return Piece(batch, whole)


def _fits(shape: Sequence[int], wanted: Sequence[Dim]) -> bool:
    pairs = zip(shape, wanted, strict=False)
    return len(shape) == len(wanted) and all(not isinstance(b, int) or a == b for a, b in pairs)


def _way_out(shape: tuple[int, ...], wanted: tuple[Dim, ...]) -> str:
    if len(shape) == len(wanted) - 1 and _fits(shape, wanted[1:]):
        return "Add a batch axis: array[None]."
    if len(shape) == len(wanted) == 4:
        n, *rest = shape
        if _fits((n, rest[2], *rest[:2]), (None, *wanted[1:])):
            return "It looks like NHWC: array.transpose(0, 3, 1, 2)."
        if _fits((n, *rest[1:], rest[0]), (None, *wanted[1:])):
            return "It looks like NCHW: array.transpose(0, 2, 3, 1)."
    return "Bring each sample to that shape, with axis 0 counting the samples."
