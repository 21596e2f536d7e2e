"""Tensors that a model made, and several batches of them joined: to look at one large batch costs less than at many
small ones."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxq.inputs import Array


@dataclass(frozen=True, eq=False)
class Seen:
    """The ``arrays`` by name, of so many ``samples``."""

    arrays: Mapping[str, Array]
    samples: int

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())

    def only(self, names: Iterable[str]) -> "Seen":
        return Seen({name: self.arrays[name] for name in names}, self.samples)

    @property
    def form(self) -> Hashable:
        """Of the tensors of one sample; None where rows do not tell which sample they are of."""
        if any(array.ndim == 0 or len(array) % self.samples for array in self.arrays.values()):
            return None
        return tuple((name, len(array) // self.samples, array.shape[1:]) for name, array in self.arrays.items())


def joined(seen: Sequence[Seen]) -> Sequence[Seen]:
    """As one batch where that says the same, else as they are."""
    forms = {one.form for one in seen}
    if len(seen) < 2 or None in forms or len(forms) > 1:
        return seen
    arrays = {name: np.concatenate([one.arrays[name] for one in seen]) for name in seen[0].arrays}
    return [Seen(arrays, sum(one.samples for one in seen))]
