"""NNCF: its default calibrator, the mean of the samples' extremes, or another by the name it has there."""

from collections.abc import Mapping, Sequence

import nncf
import numpy as np
import onnx
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
from nncf.quantization.range_estimator import RangeEstimatorParametersSet


def quantize(
    model: str,
    feeds: Sequence[Mapping[str, np.ndarray]],
    out: str,
    preset: str = "mixed",
    calibrator: str | None = None,
    correct_biases: bool = True,
) -> None:
    advanced = AdvancedQuantizationParameters(disable_bias_correction=not correct_biases)
    if calibrator is not None:
        advanced.activations_range_estimator_params = getattr(RangeEstimatorParametersSet, calibrator)
    quantized = nncf.quantize(
        onnx.load(model),
        nncf.Dataset(feeds),
        preset=nncf.QuantizationPreset(preset),
        subset_size=len(feeds),
        advanced_parameters=advanced,
    )
    onnx.save(quantized, out)
