"""onnxsim's quantizer: the inputs of layers alone, or every tensor; weights of fewer bits by its GPTQ.

Weights of fewer than 8 bits stay in 8; layers with groups are left at 8.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxsim
from onnxsim.full_qdq import quantize_full_qdq
from onnxsim.quark_weight_rounding import gptq_int8


def quantize(
    model: str,
    feeds: Sequence[Mapping[str, np.ndarray]],
    out: str,
    calibrator: str = "minmax",
    every_tensor: bool = False,
    bits: int = 8,
) -> None:
    if bits == 8:
        onnx.save(onnxsim.quantize_static(model, feeds, method=calibrator, full_graph=every_tensor), out)
    else:
        float_model = onnx.load(model)
        quantized = quantize_full_qdq(float_model, feeds, method=calibrator)
        onnx.save(gptq_int8(float_model, quantized, feeds, bits=bits, per_channel=True)[0], out)
