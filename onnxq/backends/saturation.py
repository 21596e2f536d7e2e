"""Whether this machine's onnxruntime saturates sums of u8 x s8 products, found by asking it for one.

CPUs of the x86 family without VNNI multiply pairs of such integers and add the two products in 16 bits, where
``255 * 127 + 255 * 127`` does not fit (Intel's ``vpmaddubsw``). Weights of 7 bits always fit. One sum is exact or it is
not; the names of CPU flags, which differ by system and by library, need not be known.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnxq.backends.backend import Backend

REDUCED_BITS = 7
LENGTH = 64  # of the sum: enough for every kernel's widest block
ROWS = 4


def reduced(backend: Backend, wanted: bool | None) -> Backend:
    """The backend with weights of 7 bits: where ``wanted``, or where None is said and this CPU needs it."""
    if backend.saturates is None or wanted is False or not (wanted or backend.saturates()):
        return backend
    return replace(backend, weight=replace(backend.weight, bits=REDUCED_BITS))


@cache
def saturates() -> bool:
    """Whether the largest u8 x s8 products are summed wrongly by onnxruntime on this CPU."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(_product().SerializeToString(), options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.full((ROWS, LENGTH), 255, np.uint8)})
    return bool(np.any(np.asarray(found) != LENGTH * 255 * 127))


def _product() -> onnx.ModelProto:
    """``[ROWS, LENGTH] u8 x [LENGTH, LENGTH] s8``, the weights a constant as in a model, so that they are packed."""
    weight = numpy_helper.from_array(np.full((LENGTH, LENGTH), 127, np.int8), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "saturation",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [ROWS, LENGTH])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [ROWS, LENGTH])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
