"""Where a model comes from, told in the model itself: its recipe, hashes of what went in, versions, and accuracy.

Nothing in it depends on the machine, the time, or a path, so that the same inputs still give the same bytes.
"""

from onnxq.provenance.provenance import Accuracy, Given, Provenance
from onnxq.provenance.stored import provenance_of, read_provenance, stamp

__all__ = ["Accuracy", "Given", "Provenance", "provenance_of", "read_provenance", "stamp"]
