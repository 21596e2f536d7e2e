"""QNN (Qualcomm AI Engine Direct) on newer Hexagon processors: weights i8 symmetric per channel, activations u8
asymmetric per tensor."""

from onnxq.backends.backend import Backend
from onnxq.backends.encodings import ENCODINGS_1_0_0
from onnxq.backends.tables import FUSED, WHOLE_INTEGER
from onnxq.scheme import ActivationSchemes, Scheme

BACKEND = Backend(
    name="qnn",
    title="QNN",
    rules=WHOLE_INTEGER,
    absorbs=FUSED,
    activation=ActivationSchemes.always(Scheme(signed=False, symmetric=False)),
    wide=ActivationSchemes.always(Scheme(signed=False, symmetric=False, bits=16)),
    weight=Scheme(signed=True, symmetric=True),
    side_file=ENCODINGS_1_0_0,
)
