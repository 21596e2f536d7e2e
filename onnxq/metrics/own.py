"""The user's own metric: ``script.py:function``, run only where it is named in this form.

def within_a_tenth(outputs, labels):
    return 100 * np.mean(abs(outputs["depth"] - labels) < 0.1 * labels)
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxq.data.script import failing, script_function
from onnxq.errors import DataError
from onnxq.inputs import Array
from onnxq.metrics.metric import Known, joined

REFERENCE = "reference"


@dataclass(frozen=True)
class Own:
    """``function(outputs, labels)`` gives a number, better when larger; a parameter ``reference`` is given the
    reference's outputs. Outputs are arrays by name over all samples; labels are None where there are none.

    An attribute ``unit`` of the function is shown beside the number.
    """

    source: str
    function: Callable[..., object]
    compares: bool = False
    unit: str = ""

    @classmethod
    def of(cls, source: str) -> "Own":
        """Raises DataError when there is no such file or function, or when its code fails."""
        function = script_function(source)
        compares = REFERENCE in inspect.signature(function).parameters
        return cls(source, function, compares, str(getattr(function, "unit", "")))

    @property
    def name(self) -> str:
        return f"{Path(self.source).name}".rpartition(":")[2]

    def part(self, outputs: Mapping[str, Array], known: Known) -> tuple[Mapping[str, Array], Known]:
        return outputs, known

    def total(self, parts: Sequence[tuple[Mapping[str, Array], Known]]) -> float:
        outputs = joined([made for made, _ in parts])
        labels = [known.labels for _, known in parts if known.labels is not None]
        truth = np.concatenate(labels) if labels else None
        references = [known.reference for _, known in parts if known.reference is not None]
        more = {REFERENCE: joined(references)} if self.compares else {}
        with failing(self.source):
            value = self.function(outputs, truth, **more)
        number = np.asarray(value)
        if number.size != 1 or number.dtype.kind not in "fiub" or math.isnan(float(number.reshape(()))):
            raise DataError(f"{self.source}: gave {value!r}; one number is wanted.")
        return float(number.reshape(()))
