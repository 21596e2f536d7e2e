"""TVM, whose ONNX front end takes Q/DQ: u8 asymmetric per tensor, weights too (MQBench's ONNX_QNN backend)."""

from onnxq.backends.backend import Backend
from onnxq.backends.tables import FUSED, WHOLE_INTEGER
from onnxq.passes.quantize_bias import QuantizeBias
from onnxq.scheme import ActivationSchemes, Scheme

_U8 = Scheme(signed=False, symmetric=False)

BACKEND = Backend(
    name="tvm",
    title="TVM",
    rules=WHOLE_INTEGER,
    absorbs=FUSED,
    activation=ActivationSchemes.always(_U8),
    weight=_U8,
    per_channel=False,
    lowering=(QuantizeBias(),),
)
