"""A convolutional network, written node by node as exporters leave it: BatchNormalization unfolded, weights random.

Weights are normal with variance ``2 / fan_in`` (He et al. 2015, eq. 10), so that activations neither grow nor vanish
with depth.
"""

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

OPSET = 17


class Net:
    """The graph so far. Every method adds nodes behind ``x`` and returns the name of what they compute."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self._name = name
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def op(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op_type.lower()}_{len(self._nodes)}"
        self._nodes.append(onnx.helper.make_node(op_type, inputs, [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def conv(self, x: str, shape: tuple[int, int, int], *, stride: int = 1, groups: int = 1, bias: bool = False) -> str:
        """``shape``: channels in, channels out, kernel size; padded so that stride 1 keeps the size."""
        inside, outside, kernel = shape
        fan = inside // groups * kernel**2
        w = self._normal((outside, inside // groups, kernel, kernel), math.sqrt(2 / fan))
        more = [self._weight(self._normal((outside,), 0.1))] if bias else []
        pads, sizes = [kernel // 2] * 4, [kernel, kernel]
        return self.op(
            "Conv", x, self._weight(w), *more, kernel_shape=sizes, strides=[stride] * 2, pads=pads, group=groups
        )

    def norm(self, x: str, channels: int, gain: float = 1.0) -> str:
        gamma, var = (self._random.uniform(0.5, 1.5, channels).astype(np.float32) for _ in range(2))
        beta, mean = (self._normal((channels,), 0.1) for _ in range(2))
        return self.op("BatchNormalization", x, *map(self._weight, (gain * gamma, beta, mean, var)), epsilon=1e-5)

    def relu6(self, x: str) -> str:
        bounds = [self._weight(np.array(bound, np.float32)) for bound in (0, 6)]
        return self.op("Clip", x, *bounds)

    def linear(self, x: str, inside: int, outside: int) -> str:
        w, b = self._normal((outside, inside), math.sqrt(1 / inside)), self._normal((outside,), 0.1)
        return self.op("Gemm", x, self._weight(w), self._weight(b), transB=1)

    def model(self, output: str, image: tuple[int, int, int], classes: int) -> onnx.ModelProto:
        """The finished model: ``input`` is [batch, *image], ``logits`` [batch, classes]."""
        self._nodes[-1].output[0] = "logits"
        assert output == f"{self._nodes[-1].name}_out"
        value, float32 = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
        graph = onnx.helper.make_graph(
            self._nodes,
            self._name,
            [value("input", float32, ["batch", *image])],
            [value("logits", float32, ["batch", classes])],
            self._weights,
        )
        opset = onnx.helper.make_opsetid("", OPSET)
        model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _normal(self, shape: tuple[int, ...], deviation: float) -> NDArray[np.float32]:
        return (deviation * self._random.standard_normal(shape)).astype(np.float32)

    def _weight(self, array: NDArray[Any]) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(onnx.numpy_helper.from_array(array, name))
        return name
