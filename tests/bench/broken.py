"""A layer that one grid cannot hold: one channel of its weights is far larger, and what is behind makes up for it."""

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxq.backends import backend_of
from onnxq.execute import Session
from onnxq.inputs import input_specs
from onnxq.model import export, to_graph
from onnxq.passes import FoldBatchNorm, FoldConstants
from onnxq.samples import open_samples
from onnxq.workspace import Workspace

PLAIN = {
    "passes": [
        "fold_constants",
        "fold_batch_norm",
        "plan",
        "calibrate",
        {"round_weights": {"per_channel": False}},
        "insert_qdq",
    ]
}
"""One grid for every weight, rounded to nearest, and no remedy."""


def broken(model: onnx.ModelProto, index: int, factor: float = 100) -> tuple[onnx.ModelProto, str]:
    """The same function, with the largest output channel of a Conv ``factor`` times larger; and the name of it."""
    graph = to_graph(model)
    conv = [node for node in graph.nodes if node.op == "Conv"][index]
    weight = np.array(conv.inputs[1].values)
    channel = int(np.abs(weight).max((1, 2, 3)).argmax())
    scale = np.ones(len(weight), np.float32)
    scale[channel] = factor
    conv.inputs[1] = gs.Constant(f"{conv.name}/weight", weight * scale.reshape(-1, 1, 1, 1))
    if len(conv.inputs) > 2:
        conv.inputs[2] = gs.Constant(f"{conv.name}/bias", np.array(conv.inputs[2].values) * scale)
    result = conv.outputs[0]
    large = gs.Variable(f"{result.name}/large", np.float32, result.shape)
    conv.outputs = [large]
    undo = gs.Constant(f"{conv.name}/undo", 1 / scale.reshape(1, -1, 1, 1))
    graph.nodes.append(gs.Node("Mul", f"{conv.name}/Mul", inputs=[large, undo], outputs=[result]))
    graph.cleanup().toposort()
    return export(graph, model), str(conv.name)


def folded(source: onnx.ModelProto) -> onnx.ModelProto:
    """Without batch norms, into which a channel of any size would be folded away."""
    space = Workspace(to_graph(source), source, open_samples("random", input_specs(source)), backend_of("openvino"))
    for step in (FoldConstants(), FoldBatchNorm()):
        step(space)
    folded = space.model()
    Session(folded)
    return folded
