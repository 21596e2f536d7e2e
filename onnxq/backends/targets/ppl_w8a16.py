"""OpenPPL on DSPs, weights u8 and activations u16, asymmetric per tensor (MQBench's PPLW8A16 backend)."""

from onnxq.backends.backend import Backend
from onnxq.backends.scale_tables import PPL_RANGES
from onnxq.backends.tables import FUSED, WHOLE_INTEGER
from onnxq.scheme import ActivationSchemes, Scheme

_U16 = ActivationSchemes.always(Scheme(signed=False, symmetric=False, bits=16))

BACKEND = Backend(
    name="ppl_w8a16",
    title="PPL W8A16",
    rules=WHOLE_INTEGER,
    absorbs=FUSED,
    activation=_U16,
    wide=_U16,
    weight=Scheme(signed=False, symmetric=False),
    per_channel=False,
    side_file=PPL_RANGES,
)
