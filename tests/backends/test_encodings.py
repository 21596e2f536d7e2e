"""Encodings as AIMET's "Encoding Format Specification" lays both layouts down."""

import json
from dataclasses import replace

import numpy as np
import pytest

from onnxq.backends.backend import Grids, SideFile
from onnxq.backends.encodings import ENCODINGS_0_6_1, ENCODINGS_1_0_0
from onnxq.scheme import QParams, Scheme

U8, I8, SIGNED = Scheme(False, False), Scheme(True, True), Scheme(True, False)


def grid(scheme: Scheme, scale: float | list[float], zero: int | list[int]) -> QParams:
    return QParams(scheme, np.array(scale, np.float32), np.array(zero, scheme.dtype))


GRIDS = Grids(
    {
        "a": grid(U8, 0.5, 3),
        "wide": grid(replace(U8, bits=16), 0.25, 32768),
        "signed": grid(Scheme(True, False), 0.5, -8),
    },
    {"w": grid(I8.along(1), [0.5, 0.25], [0, 0]), "v": grid(U8, 0.5, 128), "n": grid(replace(I8, bits=4), 0.5, 0)},
    {"conv": ("a",)},
)


def test_the_older_layout() -> None:
    told = json.loads(ENCODINGS_0_6_1.write(GRIDS))
    assert told.keys() == {"version", "activation_encodings", "param_encodings"} and told["version"] == "0.6.1"
    common = {"bitwidth": 8, "dtype": "int"}
    assert told["activation_encodings"] == {
        "a": [{**common, "is_symmetric": "False", "min": -1.5, "max": 126.0, "offset": -3, "scale": 0.5}],
        "wide": [
            {
                **common,
                "bitwidth": 16,
                "is_symmetric": "False",
                "min": -8192.0,
                "max": 8191.75,
                "offset": -32768,
                "scale": 0.25,
            }
        ],
        "signed": [{**common, "is_symmetric": "False", "min": -60.0, "max": 67.5, "offset": -120, "scale": 0.5}],
    }
    assert told["param_encodings"]["w"] == [
        {**common, "is_symmetric": "True", "min": -128 * scale, "max": 127 * scale, "offset": -128, "scale": scale}
        for scale in (0.5, 0.25)
    ]
    assert told["param_encodings"]["n"][0]["offset"] == -8 and told["param_encodings"]["n"][0]["max"] == 3.5


def test_the_newer_layout() -> None:
    told = json.loads(ENCODINGS_1_0_0.write(GRIDS))
    assert told.keys() == {"version", "activation_encodings", "param_encodings"} and told["version"] == "1.0.0"
    whole, channels = ({"enc_type": kind, "dtype": "INT", "bw": 8} for kind in ("PER_TENSOR", "PER_CHANNEL"))
    assert told["activation_encodings"][0] == {"name": "a", **whole, "is_sym": False, "scale": [0.5], "offset": [-3]}
    assert told["param_encodings"] == [
        {"name": "w", **channels, "is_sym": True, "scale": [0.5, 0.25], "offset": [-128, -128]},
        {"name": "v", **whole, "is_sym": False, "scale": [0.5], "offset": [-128]},
        {"name": "n", **whole, "bw": 4, "is_sym": True, "scale": [0.5], "offset": [-8]},
    ]


@pytest.mark.parametrize("side_file", [ENCODINGS_0_6_1, ENCODINGS_1_0_0])
def test_the_same_grids_give_the_same_text(side_file: SideFile) -> None:
    assert side_file.write(GRIDS) == side_file.write(GRIDS)
    assert side_file.suffix == ".encodings.json"
