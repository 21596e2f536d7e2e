"""Connected components: which numbers are one, when some pairs of them are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.intp]


def components(count: int, pairs: Sequence[tuple[Numbers, Numbers]]) -> Numbers:
    """[count]: for each of the numbers 0, 1, ... the least one that it is connected with. Each of the ``pairs`` of
    arrays connects its first numbers with its second ones, one by one.

    All pairs are merged at once, and paths made short, in rounds of which there are few (Shiloach and Vishkin 1982).
    """
    least = np.arange(count)
    if not pairs:
        return least
    one, other = (np.concatenate([np.broadcast_to(pair[side], pair[1].shape) for pair in pairs]) for side in (0, 1))
    while True:
        first, second = least[one], least[other]
        apart = first != second
        if not apart.any():
            return least
        one, other, first, second = one[apart], other[apart], first[apart], second[apart]
        np.minimum.at(least, np.maximum(first, second), np.minimum(first, second))
        while np.any((shorter := least[least]) != least):
            least = shorter
