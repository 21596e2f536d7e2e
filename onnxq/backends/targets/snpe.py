"""SNPE on a Snapdragon's DSP: u8 asymmetric per tensor, weights too (MQBench's SNPE backend; Qualcomm's "Quantized vs
Non-Quantized Models"). Biases are 32 bits wide there (``--bias_bitwidth 32``) and stay float here."""

from dataclasses import replace

from onnxq.backends.backend import Backend
from onnxq.backends.encodings import ENCODINGS_0_6_1
from onnxq.backends.tables import FUSED, WHOLE_INTEGER
from onnxq.scheme import ActivationSchemes, Scheme

_U8 = Scheme(signed=False, symmetric=False)

BACKEND = Backend(
    name="snpe",
    title="SNPE",
    rules=WHOLE_INTEGER,
    absorbs=FUSED,
    activation=ActivationSchemes.always(_U8),
    wide=ActivationSchemes.always(replace(_U8, bits=16)),
    weight=_U8,
    per_channel=False,
    side_file=ENCODINGS_0_6_1,
)
