"""Min-max keeps all that was seen."""

from onnxq.calibrators import MinMax
from onnxq.scheme import ActivationSchemes, Scheme
from onnxq.statistics import TensorStatistics
from onnxq.testing import normal

U8 = Scheme(signed=False, symmetric=False)


def test_the_range_is_exact_and_needs_no_histogram() -> None:
    values = normal(1000)
    found = MinMax().range(TensorStatistics.of(values, MinMax.histogram), ActivationSchemes(U8, U8, U8))
    assert (found.low, found.high) == (values.min(), values.max())
