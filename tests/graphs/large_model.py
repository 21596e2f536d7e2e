"""A model whose weights lie in a file beside it: MatMuls and ReLUs in a chain, as many and as wide as asked for."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper


def large_model(folder: Path, layers: int = 36, width: int = 4096) -> Path:
    """Writes ``large.onnx`` and ``large.data``: 36 weights of 4096 x 4096 float32 numbers are 2.4 GB.

    The weights keep the size of what goes through them, and are one block of random numbers, turned a little from layer
    to layer, since it would take long to draw them all.
    """
    block = np.random.default_rng(0).standard_normal((width, width), np.float32) * np.float32((2 / width) ** 0.5)
    nodes, tensors = [], []
    with (folder / "large.data").open("wb") as data:
        for index in range(layers):
            weight = np.roll(block, index, axis=1)
            tensor = TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, dims=weight.shape)
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "large.data"), ("offset", data.tell()), ("length", weight.nbytes)):
                tensor.external_data.add(key=key, value=str(value))
            data.write(weight.data)
            tensors.append(tensor)
            nodes.append(helper.make_node("MatMul", [f"x{index}", f"w{index}"], [f"a{index}"], f"product{index}"))
            nodes.append(helper.make_node("Relu", [f"a{index}"], [f"x{index + 1}"], f"relu{index}"))
    ends = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, ["N", width]) for i in (0, layers)]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "large.onnx")
    return folder / "large.onnx"


def weights(path: Path) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """The weights of the model at ``path``, not read before they are looked at."""
    model = onnx.load(path, load_external_data=False)
    found = [({e.key: e.value for e in tensor.external_data}, tuple(tensor.dims)) for tensor in model.graph.initializer]
    return [np.memmap(path.with_name("large.data"), np.float32, "r", int(said["offset"]), dims) for said, dims in found]
