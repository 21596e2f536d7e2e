"""The ``calibration.cache`` that onnxruntime writes beside its JSON, for its TensorRT provider: a line for each tensor
with its name, a blank, and the larger of the two ends of its range.

    images 2.64

That is the upper end alone wherever it is positive, so [-5, 2] is written as 2: the JSON tells more. Only read here.
"""

from onnxq.errors import DataError
from onnxq.ranges.checked import checked, refused_twice
from onnxq.scheme import Range


def read(text: str, where: str) -> dict[str, Range]:
    """Ranges by tensor, each from minus to plus its number. Raises DataError for a line that is not such a pair."""
    found: dict[str, Range] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, _, written = line.rstrip().rpartition(" ")
        try:
            amax = float(written)
        except ValueError:
            name = ""
        if not name:
            raise DataError(
                f"{where}, line {number}: {line[:60]!r} is not `tensor number`, as onnxruntime writes it, and the file "
                "does not begin with `TRT-`, as TensorRT's do."
            )
        refused_twice(name, found, where)
        found[name] = checked(-amax, amax, name, where)
    return found
