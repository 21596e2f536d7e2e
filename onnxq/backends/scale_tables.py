"""Tables of scales that targets take beside the float model, each in the form that public tools write and read."""

import json

import numpy as np

from onnxq.backends.backend import Grids, SideFile
from onnxq.logarithmic import largest
from onnxq.scheme import QParams, held


def _tengine(grids: Grids) -> str:
    """``name scale zero_point`` a line, for ``quant_tool_uint8 -f``; weights are left to the tool.

    As MQBench and PPQ write it.
    """
    return "".join(f"{name} {float(p.scale)!r} {int(p.zero_point)}\n" for name, p in grids.activations.items())


def _ppl_nn(grids: Grids) -> str:
    """ppl.nn's ``--quant-file``: ``quant_info`` by tensor, ``op_info`` by node (quant_param_parser.cc; as PPQ
    writes it)."""

    def entry(params: QParams, lowest: int) -> dict[str, object]:
        ends = held(params)
        return {
            "bit_width": params.scheme.bits,
            "per_channel": params.scheme.axis is not None,
            "quant_flag": True,
            "sym": params.scheme.symmetric,
            "scale": params.scale.tolist(),
            "zero_point": params.zero_point.tolist(),
            "tensor_min": ends.low.tolist(),
            "tensor_max": ends.high.tolist(),
            "q_min": lowest,
            "q_max": params.scheme.highest,
        }

    tensors = {name: entry(params, params.scheme.lowest) for name, params in grids.activations.items()}
    tensors |= {name: entry(params, params.scheme.reachable) for name, params in grids.weights.items()}
    return json.dumps(
        {"quant_info": tensors, "op_info": {name: {"data_type": "INT8"} for name in grids.layers}}, indent=1
    )


def _ppl(grids: Grids) -> str:
    """``{"ppl": {tensor: step, zero_point, min, max, bit, type}}``, as MQBench writes it for PPL's W8A16."""

    def entry(params: QParams) -> dict[str, object]:
        ends = held(params)
        return {
            "step": params.scale.tolist(),
            "zero_point": params.zero_point.tolist(),
            "min": ends.low.tolist(),
            "max": ends.high.tolist(),
            "bit": params.scheme.bits,
            "type": "biased",
        }

    return json.dumps({"ppl": {name: entry(p) for name, p in {**grids.activations, **grids.weights}.items()}}, indent=1)


def _gfpq(grids: Grids) -> str:
    """``{"nnie": {"gfpq_param_dict": {layer: [clipping value of each input]}}}``, as MQBench writes it.

    NNIE's mapper wants values ``c`` with ``16 * log2(c)`` whole.
    """
    clips = {name: float(largest(params.scale.astype(np.float64))) for name, params in grids.activations.items()}
    layers = {name: [clips[tensor] for tensor in read] for name, read in grids.layers.items()}
    return json.dumps({"nnie": {"gfpq_param_dict": layers}}, indent=1)


TENGINE_SCALES = SideFile(".scale", _tengine, has_bits=False)
PPL_NN_QUANT = SideFile(".quant.json", _ppl_nn)
PPL_RANGES = SideFile(".clip_ranges.json", _ppl)
NNIE_GFPQ = SideFile(".gfpq.json", _gfpq)
