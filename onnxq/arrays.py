"""What arrays of numbers are called in signatures."""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
"""One number for each of some channels, [channels]."""
