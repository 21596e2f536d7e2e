"""LiteRT (TensorFlow Lite) and what follows its "8-bit quantization specification", such as XNNPACK and many NPUs:
weights i8 symmetric per channel within [-127, 127], activations i8 asymmetric per tensor, bias i32 with scale
``sx * sw``; pools keep the grid of their input. Sigmoid, Tanh and Softmax, whose result has a fixed grid there, have a
calibrated one here. Activations of 16 bits are symmetric, as in its "16x8" mode. The graph is the product: LiteRT's
converter takes no ranges."""

from onnxq.backends.backend import Backend, Reads, Rule
from onnxq.backends.tables import FUSED, WHOLE_INTEGER
from onnxq.passes.quantize_bias import QuantizeBias
from onnxq.scheme import ActivationSchemes, Scheme

BACKEND = Backend(
    name="tflite",
    title="TFLite",
    rules={**WHOLE_INTEGER, "AveragePool": Rule(Reads.ENCLOSED, writes=True, same_grid=True)},
    absorbs=FUSED,
    activation=ActivationSchemes.always(Scheme(signed=True, symmetric=False)),
    wide=ActivationSchemes.always(Scheme(signed=True, symmetric=True, bits=16)),
    weight=Scheme(signed=True, symmetric=True),
    lowering=(QuantizeBias(),),
)
