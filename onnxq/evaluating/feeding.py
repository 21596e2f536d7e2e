"""What all models of an evaluation are fed: inputs that fit all of them, batches of one size, and their labels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from onnxq.data.image_folder import ImageFolder
from onnxq.errors import ModelError
from onnxq.inputs import Array, InputSpec, batch_axis
from onnxq.metrics import BoxAP
from onnxq.metrics.metric import Counted
from onnxq.samples import Batch, Samples


def common_inputs(every: Mapping[str, tuple[InputSpec, ...]]) -> tuple[InputSpec, ...]:
    """The inputs of models by what these are called: where one fixes its batch, that is fixed.

    Raises ModelError where they differ.
    """
    (first, inputs), *others = every.items()
    for said, other in others:
        if {(spec.name, spec.dtype) for spec in other} != {(spec.name, spec.dtype) for spec in inputs}:
            shown = [", ".join(f"{spec.name} {spec}" for spec in specs) for specs in (inputs, other)]
            raise ModelError(f"{said} has other inputs than {first}: {shown[1]}, not {shown[0]}.")
        sizes = batch_axis(inputs).fixed, batch_axis(other).fixed
        if None not in sizes and sizes[0] != sizes[1]:
            raise ModelError(f"{first} fixes the batch to {sizes[0]} and {said} to {sizes[1]}: evaluate them apart.")
        inputs = other if sizes[0] is None and sizes[1] is not None else inputs
    return inputs


def labelled_batches(samples: Samples, metrics: Sequence[Counted[Any]], size: int) -> Iterator[Batch]:
    """Batches of ``size``; of a folder of images that boxes are found in, their ids are the labels."""
    axis, source, ids = batch_axis(samples.inputs), samples.source, None
    boxes = next((metric for metric in metrics if isinstance(metric, BoxAP)), None)
    if boxes is not None and isinstance(source, ImageFolder):
        ids = boxes.ids([file.name for file in source.files[: samples.count]])
    for part in samples.batches(size):
        if ids is not None:
            part = replace(part, labels=ids[part.start : part.start + part.count])
        yield _filled(part, size) if axis.common and axis.fixed is None else part


def _filled(part: Batch, size: int) -> Batch:
    """A short batch with its last sample repeated: engines are built for one size."""
    if part.count >= size or {len(array) for array in part.feeds.values()} != {part.count}:
        return part
    more = size - part.count
    feeds: dict[str, Array] = {
        name: np.concatenate([array, np.repeat(array[-1:], more, 0)]) for name, array in part.feeds.items()
    }
    return replace(part, feeds=feeds)
