"""AIMET-ONNX: per channel, with min-max or its search for the least squared error, and AdaRound if asked for."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from aimet_onnx import QuantizationSimModel, apply_adaround, int8
from aimet_onnx.common.defs import QuantScheme, qtype
from aimet_onnx.common.quantsim_config.utils import get_path_for_per_channel_config


def quantize(
    model: str,
    feeds: Sequence[Mapping[str, np.ndarray]],
    out: str,
    calibrator: str = "min_max",
    bits: int = 8,
    eight: Sequence[str] = (),
    adaround: int = 0,
) -> None:
    """``eight``: weights that are given 8 bits; ``adaround``: its iterations, none by default."""
    simulated = QuantizationSimModel(
        onnx.load(model),
        param_type=qtype.int(bits),
        activation_type=int8,
        quant_scheme=QuantScheme[calibrator],
        config_file=get_path_for_per_channel_config(),
    )
    for weight in eight:
        simulated.get_qc_quantize_op()[weight].set_bitwidth(8)
    if adaround:
        apply_adaround(simulated, feeds, num_iterations=adaround)
    simulated.compute_encodings(feeds)
    onnx.save(simulated.to_onnx_qdq(), out)
