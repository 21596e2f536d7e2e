"""What JSON holds."""

import json
from pathlib import Path

import numpy as np
import onnx

from onnxq.facts import facts, plain
from onnxq.result import Result

BACKENDS = ("onnxruntime", "tensorrt")


def test_facts_are_json_and_complete(result: Result) -> None:
    told = json.loads(json.dumps(facts(result, {name: Path(name) for name in BACKENDS}), allow_nan=False))
    entry = told["backends"]["tensorrt"]
    assert entry["file"] == "tensorrt" and entry["size_after"] == result["tensorrt"].model.ByteSize()
    for tensor, params in result["tensorrt"].activations.items():
        assert entry["activations"][tensor]["grid"] == "i8 symmetric per tensor"
        assert entry["activations"][tensor]["scale"] == float(params.scale)
    for weight, rounded in result["tensorrt"].weights.items():
        solved = entry["weights"][weight.tensor]["solved"]
        assert solved["bits"] == entry["weights"][weight.tensor]["bits"] == rounded.params.scheme.bits == 8
        assert solved["layer"] in ("one", "two") and solved["seconds"] >= 0 and solved["solver"]
    assert {next(iter(step)) for step in told["recipe"]} >= {"plan", "calibrate"}
    assert told["versions"]["onnx"] == onnx.__version__


def test_plain_values() -> None:
    given = {"a": np.array(0.5, np.float32), 2: (np.inf, -np.inf, np.nan), "c": np.arange(2), "d": None, "e": Path("x")}
    assert plain(given) == {"a": 0.5, "2": ["inf", "-inf", "nan"], "c": [0, 1], "d": None, "e": "x"}
