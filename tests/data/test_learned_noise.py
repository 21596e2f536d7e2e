"""Random samples fill the range a model learned, and never leave it."""

import numpy as np

from onnxq.data.learned_noise import learned_noise
from onnxq.inputs import InputSpec
from onnxq.samples import Samples
from onnxq.scheme import Range

INPUTS = (
    InputSpec("image", np.dtype(np.float32), ("N", 3, 16, 16)),
    InputSpec("other", np.dtype(np.float32), ("N", 50)),
    InputSpec("mask", np.dtype(np.bool_), ("N", 5)),
)


def test_inputs_with_a_grid_are_within_it_and_others_normal() -> None:
    noise = learned_noise(INPUTS, {"image": Range.of(-1, 7)}, 64, 0)
    samples = Samples(noise, INPUTS)
    (batch,) = samples.batches(64)
    image, other = batch.feeds["image"], batch.feeds["other"]
    assert image.dtype == np.float32
    assert (image.min(), image.max()) == (-1, 7)
    assert abs(float(image.mean()) - 3) < 0.05
    assert other.min() < -3
    assert set(np.unique(batch.feeds["mask"])) == {False, True}
    assert "RANDOM NUMBERS" in samples.description
    assert samples.count == 64
