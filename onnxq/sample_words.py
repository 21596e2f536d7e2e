"""The words of samples (see ``onnxq.data.register``), which go by what they are and not by where they lie."""

from onnxq.data.register import Register, Words
from onnxq.samples import Samples

__all__ = ["Words", "words"]


def words(samples: Samples) -> Words:
    """One for each sample, in their order: of all inputs, after preprocessing. Samples that were read to the end before
    are not read again where they have a register."""
    register = samples.register or Register()
    if not register.whole:
        for _ in register.heard(samples.batches(1)):
            pass
    return register.words
