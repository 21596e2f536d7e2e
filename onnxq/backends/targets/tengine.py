"""Tengine in its u8 mode: u8 asymmetric per tensor, weights too (MQBench docs/source/user_guide/deploy/tengine.rst)."""

from onnxq.backends.backend import Backend
from onnxq.backends.scale_tables import TENGINE_SCALES
from onnxq.backends.tables import FUSED, WHOLE_INTEGER
from onnxq.scheme import ActivationSchemes, Scheme

_U8 = Scheme(signed=False, symmetric=False)

BACKEND = Backend(
    name="tengine",
    title="Tengine",
    rules=WHOLE_INTEGER,
    absorbs=FUSED,
    activation=ActivationSchemes.always(_U8),
    weight=_U8,
    per_channel=False,
    side_file=TENGINE_SCALES,
)
