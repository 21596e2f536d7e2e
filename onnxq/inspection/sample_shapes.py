"""The shapes that one run of a model feeds, where inputs leave some sizes free: what is given, what is fixed, a batch
of 1, and the usual size of an image."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnxq.cost import Shape
from onnxq.data.random_data import random_source
from onnxq.errors import DataError, RecipeError, unknown
from onnxq.inputs import InputSpec, batch_axis

WRITTEN = re.compile(r"(?P<name>.+):(\[\]|\[?(?P<sizes>\d+(,\d+)*)\]?)")


@dataclass(frozen=True)
class SampleShapes:
    """``shapes`` by input; ``samples`` in a run of these; ``open``: inputs of which some size is not known."""

    shapes: Mapping[str, Shape]
    samples: int
    open: tuple[str, ...]


def sample_shapes(inputs: Sequence[InputSpec], given: Mapping[str, Shape]) -> SampleShapes:
    """The shapes of a run. Raises RecipeError for one ``given`` that is no input's, or does not fit it."""
    specs = {spec.name: spec for spec in inputs}
    for name, shape in given.items():
        if name not in specs:
            raise RecipeError(f"shapes (--shape): {unknown('input', name, specs)}")
        dims = specs[name].shape
        if len(dims) != len(shape) or any(
            isinstance(dim, int) and dim != n for dim, n in zip(dims, shape, strict=True)
        ):
            raise RecipeError(f"shapes (--shape): input {name!r} is {specs[name]}; {list(shape)} does not fit it.")
    found = {name: given.get(name) or _guess(spec) for name, spec in specs.items()}
    shapes = {name: shape for name, shape in found.items() if shape is not None}
    counts = {shape[0] for shape in shapes.values() if shape}
    samples = counts.pop() if batch_axis(inputs).common and len(counts) == 1 else 1
    return SampleShapes(shapes, samples, tuple(name for name in specs if name not in shapes))


def _guess(spec: InputSpec) -> Shape | None:
    """As random samples are shaped; None where a size is free that nobody can guess."""
    if not spec.shape:
        return ()
    try:
        (rest,) = random_source((spec,), 1, 0).shapes
    except DataError:
        return None
    return (spec.shape[0] if isinstance(spec.shape[0], int) else 1, *rest)


def read_shape(text: str) -> tuple[str, Shape]:
    """The name and the shape that ``NAME:1,3,224,224`` says, brackets or none. Raises RecipeError."""
    match = WRITTEN.fullmatch(text.replace(" ", ""))
    if match is None:
        raise RecipeError(f"--shape {text!r}: an input's shape is written NAME:1,3,224,224.")
    return match["name"], tuple(int(size) for size in (match["sizes"] or "").split(",") if size)
