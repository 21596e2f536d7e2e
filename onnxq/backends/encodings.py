"""The JSON that Qualcomm's converters take as ``--quantization_overrides`` beside the float model.

Both layouts are AIMET's, as its "Encoding Format Specification" lays them down: 0.6.1, which older SNPE and QNN take
as well, maps tensor names to lists of encodings with their ends; 1.0.0 has lists of encodings with names. In both, a
real is ``(q + offset) * scale`` with q from 0 to ``2^bits - 1``, so offset is minus the zero point, and of a signed
grid ``-2^(bits - 1)`` as well. What has no encoding is left to the converter (``--input_list``, ``--float_fallback``).
"""

import json
from collections.abc import Mapping

import numpy as np

from onnxq.backends.backend import Grids, SideFile
from onnxq.scheme import QParams

Encoding = dict[str, object]


def _ends(params: QParams) -> tuple[list[float], list[int]]:
    """Scales and offsets, one or one per channel."""
    scheme = params.scheme
    unsigned = params.zero_point.astype(np.int64) + (1 << (scheme.bits - 1) if scheme.signed else 0)
    return np.atleast_1d(params.scale.astype(np.float64)).tolist(), np.atleast_1d(-unsigned).tolist()


def _legacy(params: QParams) -> list[Encoding]:
    top = (1 << params.scheme.bits) - 1
    return [
        {
            "bitwidth": params.scheme.bits,
            "dtype": "int",
            "is_symmetric": str(params.scheme.symmetric),
            "max": (top + offset) * scale,
            "min": offset * scale,
            "offset": offset,
            "scale": scale,
        }
        for scale, offset in zip(*_ends(params), strict=True)
    ]


def _named(name: str, params: QParams) -> Encoding:
    scale, offset = _ends(params)
    return {
        "name": name,
        "enc_type": "PER_TENSOR" if params.scheme.axis is None else "PER_CHANNEL",
        "dtype": "INT",
        "bw": params.scheme.bits,
        "is_sym": params.scheme.symmetric,
        "scale": scale,
        "offset": offset,
    }


def _write_0_6_1(grids: Grids) -> str:
    groups = {key: {name: _legacy(params) for name, params in found.items()} for key, found in _groups(grids).items()}
    return json.dumps({"version": "0.6.1", **groups}, indent=1)


def _write_1_0_0(grids: Grids) -> str:
    groups = {key: [_named(name, params) for name, params in found.items()] for key, found in _groups(grids).items()}
    return json.dumps({"version": "1.0.0", **groups}, indent=1)


def _groups(grids: Grids) -> dict[str, Mapping[str, QParams]]:
    return {"activation_encodings": grids.activations, "param_encodings": grids.weights}


ENCODINGS_0_6_1 = SideFile(".encodings.json", _write_0_6_1)
ENCODINGS_1_0_0 = SideFile(".encodings.json", _write_1_0_0)
