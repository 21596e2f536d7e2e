"""Statistics as a value: measured once, stored, merged, and used for any backend and any calibrator.

They go by what computes a tensor (``computation.py``), so that they serve every graph in which it is computed, and by
the samples they were measured on (``sample_words.py``), so that those of other samples are refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from onnxq.computation import computations
from onnxq.errors import DataError
from onnxq.preprocess import Preprocessing
from onnxq.sample_words import Words
from onnxq.statistics import TensorStatistics

Known = Mapping[str, TensorStatistics]


@dataclass(frozen=True)
class Measured:
    """``known``: statistics by the word of what computes a tensor, on all ``samples``; ``begun``: those of the first
    ``done`` of them, where measuring was interrupted. ``model``: a word for the float model as it was given."""

    model: str
    samples: Words
    preprocessing: str
    known: Known = field(default_factory=dict)
    begun: Known = field(default_factory=dict)
    done: int = 0
    description: str = "the statistics"

    def check(self, model: str, samples: Words, preprocessing: str) -> None:
        """Raises DataError where they are not of this model, or of other samples."""
        self._check_model(model)
        if self.preprocessing != preprocessing:
            raise DataError(
                f"{self.description}: measured with preprocessing {self.preprocessing or 'none'}, and this one is "
                f"{preprocessing or 'none'}. Measure again: onnxq calibrate."
            )
        strange = np.flatnonzero(~np.isin(samples, self.samples))
        if strange.size:
            raise DataError(
                f"{self.description}: sample {strange[0] + 1} is none of the {len(self.samples)} samples that these "
                f"were measured on ({strange.size} of {len(samples)} are not). Give the same data, or measure again: "
                "onnxq calibrate."
            )

    def merge(self, later: "Measured") -> "Measured":
        """Of these samples and the ``later`` ones together. Raises DataError where that has no meaning."""
        later._check_model(self.model)
        if self.preprocessing != later.preprocessing:
            raise DataError(
                f"{later.description}: measured with preprocessing {later.preprocessing or 'none'}, and "
                f"{self.description} with {self.preprocessing or 'none'}. Merge what was measured alike."
            )
        for one in (self, later):
            if one.begun:
                raise DataError(f"{one.description}: not finished ({one.done} samples). Run its calibration again.")
        twice = np.isin(later.samples, self.samples).sum()
        if twice:
            raise DataError(
                f"{later.description}: {twice} of its samples are in {self.description} already, and would count "
                "twice. Merge statistics of different samples."
            )
        common = self.known.keys() & later.known.keys()
        if not common:
            raise DataError(f"{later.description}: has no tensor that {self.description} has. Use one recipe for both.")
        known = {word: self.known[word].merge(later.known[word]) for word in sorted(common)}
        return replace(self, samples=np.concatenate([self.samples, later.samples]), known=known)

    def _check_model(self, model: str) -> None:
        if self.model != model:
            raise DataError(
                f"{self.description}: measured on another model, or on another version of it. Measure again: "
                "onnxq calibrate."
            )


def word_of(model: onnx.ModelProto) -> str:
    """Of what computes the outputs of a model."""
    words = computations(model)
    return "".join(words[value.name] for value in model.graph.output)


def said(preprocessing: Preprocessing | None) -> str:
    """As it is compared."""
    return "" if preprocessing is None else preprocessing.model_dump_json(exclude_defaults=True)
