"""The models that engines are asked about: those of the corpus, and nets made here in the shapes of well-known ones."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from corpus import CORPUS, MISSING, TASKS, feeds, path_of
from onnxq.inputs import Array, batch_axis, input_specs
from shapes import SHAPES

SAMPLES = {"cifar10": 128, "kws": 100, "coco": 16}  # enough for ranges that are only timed
RANDOM = 8


@dataclass(frozen=True)
class Subject:
    """A model, and samples to calibrate it with, by input and along axis 0."""

    name: str
    model: onnx.ModelProto
    samples: Mapping[str, Array]

    @property
    def takes_batches(self) -> bool:
        return batch_axis(input_specs(self.model)).fixed is None

    def feeds(self, batch: int) -> dict[str, Array]:
        """``batch`` samples, the same again and again where there are fewer."""
        return {name: np.resize(array, (batch, *array.shape[1:])) for name, array in self.samples.items()}


def subjects(names: Iterable[str]) -> Iterator[Subject]:
    """Each as its turn comes; those of the corpus are left out, with a line, where there is none."""
    for name in names:
        if name in SHAPES:
            yield random_subject(name, SHAPES[name]())
        elif CORPUS and name in TASKS:
            yield _of_corpus(name)
        elif CORPUS:
            yield random_subject(name, onnx.load(path_of(name)))
        else:
            print(f"  {name}: left out. {MISSING}")


def random_subject(name: str, model: onnx.ModelProto) -> Subject:
    """Normal numbers for samples; a size that is not fixed must be the batch."""
    (spec,) = input_specs(model)
    random = np.random.default_rng(0)
    sizes = [size for size in spec.shape[1:] if isinstance(size, int)]
    return Subject(name, model, {spec.name: random.standard_normal((RANDOM, *sizes)).astype(np.float32)})


def _of_corpus(name: str) -> Subject:
    model = onnx.load(path_of(name))
    (spec,) = input_specs(model)
    with feeds(TASKS[name], SAMPLES[TASKS[name]]) as path, np.load(path) as held:
        (samples,) = held.values()
    return Subject(name, model, {spec.name: samples})
