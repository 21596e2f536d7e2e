"""onnxruntime's quantizer: U8S8 per channel, as its documentation advises on x86, or its defaults, S8S8 per tensor."""

from collections.abc import Mapping, Sequence

import numpy as np
from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static


class Reader:
    """Feeds, as the quantizer asks for them."""

    def __init__(self, feeds: Sequence[Mapping[str, np.ndarray]]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        return next(self._feeds, None)


def quantize(
    model: str, feeds: Sequence[Mapping[str, np.ndarray]], out: str, calibrator: str = "MinMax", u8s8: bool = True
) -> None:
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "per_channel": True} if u8s8 else {}
    quantize_static(model, out, Reader(feeds), calibrate_method=CalibrationMethod[calibrator], **kinds)
