"""OpenPPL on CUDA: u8 asymmetric, weights per channel, activations per tensor (MQBench's PPLCUDA backend)."""

from onnxq.backends.backend import Backend
from onnxq.backends.scale_tables import PPL_NN_QUANT
from onnxq.backends.tables import FUSED, WHOLE_INTEGER
from onnxq.scheme import ActivationSchemes, Scheme

_U8 = Scheme(signed=False, symmetric=False)

BACKEND = Backend(
    name="ppl_cuda",
    title="PPL CUDA",
    rules=WHOLE_INTEGER,
    absorbs=FUSED,
    activation=ActivationSchemes.always(_U8),
    weight=_U8,
    side_file=PPL_NN_QUANT,
)
