"""Vitis AI on AMD's (Xilinx's) DPU: i8 symmetric per tensor by powers of two, weights, biases and activations (MQBench
docs/source/user_guide/hardware/vitis.rst, whose list of operators is the table). Its compiler takes Q/DQ, so the graph
is the product."""

from onnxq.backends.backend import Backend
from onnxq.backends.tables import FUSED, WHOLE_INTEGER
from onnxq.passes.round_bias import RoundBias
from onnxq.scheme import ActivationSchemes, Scheme, Steps

_LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_BETWEEN = ("Add", "Concat", "MaxPool", "GlobalAveragePool", "Resize", "Flatten")
_I8 = Scheme(signed=True, symmetric=True, steps=Steps.POWER_OF_TWO)

BACKEND = Backend(
    name="vitis",
    title="Vitis AI",
    rules={op: WHOLE_INTEGER[op] for op in (*_LINEAR, *_BETWEEN)},
    absorbs=FUSED,
    activation=ActivationSchemes.always(_I8),
    weight=_I8,
    per_channel=False,
    lowering=(RoundBias(_I8),),
)
