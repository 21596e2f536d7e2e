"""Tables of scales, in the forms that public tools write and read."""

import json

import numpy as np

from onnxq.backends.backend import Grids
from onnxq.backends.scale_tables import NNIE_GFPQ, PPL_NN_QUANT, PPL_RANGES, TENGINE_SCALES
from onnxq.scheme import QParams, Range, Scheme, Steps, qparams

U8 = Scheme(False, False)
GRIDS = Grids(
    {"a": QParams(U8, np.array(0.5, np.float32), np.array(3, np.uint8))},
    {"w": QParams(U8.along(0), np.array([0.5, 0.25], np.float32), np.array([0, 4], np.uint8))},
    {"conv": ("a",)},
)


def test_tengine() -> None:
    assert TENGINE_SCALES.write(GRIDS) == "a 0.5 3\n"


def test_ppl_nn() -> None:
    told = json.loads(PPL_NN_QUANT.write(GRIDS))
    assert told["op_info"] == {"conv": {"data_type": "INT8"}}
    assert told["quant_info"]["a"] == {
        "bit_width": 8, "per_channel": False, "quant_flag": True, "sym": False, "scale": 0.5, "zero_point": 3,
        "tensor_min": -1.5, "tensor_max": 126.0, "q_min": 0, "q_max": 255,
    }  # fmt: skip
    assert told["quant_info"]["w"]["per_channel"] is True
    assert told["quant_info"]["w"]["tensor_min"] == [0.0, -1.0] and told["quant_info"]["w"]["scale"] == [0.5, 0.25]


def test_ppl() -> None:
    told = json.loads(PPL_RANGES.write(GRIDS))["ppl"]
    assert told["a"] == {"step": 0.5, "zero_point": 3, "min": -1.5, "max": 126.0, "bit": 8, "type": "biased"}
    assert told["w"]["max"] == [127.5, 62.75]


def test_nnie() -> None:
    log = Scheme(True, True, steps=Steps.LOGARITHMIC)
    grids = Grids({"a": qparams(log, Range.of(-1, 4)), "b": qparams(log, Range.of(0, 5))}, {}, {"add": ("a", "b")})
    clips = json.loads(NNIE_GFPQ.write(grids))["nnie"]["gfpq_param_dict"]["add"]
    assert clips == [4.0, 2 ** (37 / 16)]
