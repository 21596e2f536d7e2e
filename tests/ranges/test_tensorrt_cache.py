"""TensorRT's calibration caches are read as TensorRT writes them, and written as it reads them."""

import numpy as np
import pytest

from onnxq.errors import DataError
from onnxq.ranges.tensorrt_cache import read, write
from onnxq.scheme import Range

# The scale 1/127 is 0x3c010204, 2/127 is 0x3c810204: worked out by hand from the bits of a float32.
CACHE = """TRT-8601-EntropyCalibration2
images: 3c010204
(Unnamed Layer* 3) [Convolution]_output: 3c810204
dead: 0
"""


def test_scales_are_the_bits_of_a_float32() -> None:
    found = read(CACHE, "a.cache")
    assert list(found) == ["images", "(Unnamed Layer* 3) [Convolution]_output", "dead"]
    ends = [(float(entry.low), float(entry.high)) for entry in found.values()]
    np.testing.assert_allclose(ends, [(-1, 1), (-2, 2), (0, 0)], rtol=1e-6)


@pytest.mark.parametrize("kind", ["100300-EntropyCalibration", "7103-MinMaxCalibration", "5105-LegacyCalibration"])
def test_every_algorithm_and_version_is_known(kind: str) -> None:
    assert read(f"TRT-{kind}\nx: 3c010204\n", "a.cache").keys() == {"x"}


def test_what_is_read_is_written_byte_for_byte() -> None:
    assert write(read(CACHE, "a.cache")) == CACHE


def test_the_longer_side_counts_and_any_scale_survives() -> None:
    scales = np.array([1e-38, 3.3e-7, 0.1, 1 / 3, 2e35], np.float32)
    text = write({f"t:{i}": Range.of(-63 * float(scale), 127 * float(scale)) for i, scale in enumerate(scales)})
    assert [np.float32(float(entry.high) / 127) for entry in read(text, "a.cache").values()] == list(scales)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("TRT-8601-Guess\nx: 3c010204\n", "begins with 'TRT-8601-Guess'; TensorRT's caches begin like"),
        ("TRT-8601-EntropyCalibration2\nx 3c010204\n", "line 2: 'x 3c010204' is not `tensor: scale`"),
        ("TRT-8601-EntropyCalibration2\n\nx: 0.5\n", "line 3: 'x: 0.5' is not"),
        ("TRT-8601-EntropyCalibration2\nx: 13c010204\n", "with 1 to 8 hex digits"),
        ("TRT-8601-EntropyCalibration2\nx: 7fc00000\n", "the range of tensor 'x' is [nan, nan]; float32 numbers"),
        ("TRT-8601-EntropyCalibration2\nx: 7f7fffff\n", "float32 numbers are wanted"),
        ("TRT-8601-EntropyCalibration2\nx: bc010204\n", "its scale is negative"),
        ("TRT-8601-EntropyCalibration2\nx: 0\nx: 1\n", "tensor 'x' stands there twice"),
    ],
)
def test_what_is_no_cache_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read(text, "a.cache")
    assert said in str(caught.value) and str(caught.value).startswith("a.cache") and "\n" not in str(caught.value)


def test_a_name_that_fits_on_no_line_is_refused() -> None:
    with pytest.raises(DataError, match="line break"):
        write({"a\nb": Range.of(0, 1)})
