"""What a model tells of itself is read back, and what is damaged or somebody else's is refused."""

from pathlib import Path

import onnx
import pytest

from onnxq.errors import ModelError
from onnxq.provenance import Accuracy, Given, Provenance, provenance_of, read_provenance, stamp
from onnxq.provenance.summary import summary
from onnxq.testing import parse

TOLD = Provenance(
    "quantize",
    "openvino",
    ("onnxruntime", "openvino"),
    "passes:\n- plan\n",
    Given("ab" * 32, "cd" * 32, 64, 3, {"scale": 0.5}, "01" * 32, "02" * 32),
    {"onnxq": "1", "numpy": "2"},
    True,
    Accuracy(64, 38.6, "top1", "%", 99.8, 99.7),
)
BARE = Provenance("retarget", "tensorrt", ("tensorrt",), "passes: []\n", Given("ab" * 32))


def model() -> onnx.ModelProto:
    return parse("g (float[N,4] x) => (float[N,4] y) { [r] y = Relu(x) }")


@pytest.mark.parametrize("told", [TOLD, BARE])
def test_it_is_read_back(told: Provenance, tmp_path: Path) -> None:
    made = model()
    made.metadata_props.add(key="classes", value="cat,dog")
    stamp(made, BARE)
    stamp(made, told)
    assert provenance_of(made) == told
    assert made.metadata_props[0].value == "cat,dog"
    assert len({entry.key for entry in made.metadata_props}) == len(made.metadata_props)
    onnx.save(made, tmp_path / "m.onnx")
    assert read_provenance(tmp_path / "m.onnx") == told


def test_the_order_of_what_is_told_does_not_matter() -> None:
    one, other = model(), model()
    stamp(one, TOLD)
    stamp(other, Provenance(**{**vars(TOLD), "versions": {"numpy": "2", "onnxq": "1"}}))
    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def test_a_model_of_somebody_else_tells_nothing(tmp_path: Path) -> None:
    onnx.save(model(), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"m.onnx: tells nothing of where it comes from: onnxq did not write it"):
        read_provenance(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="no such file"):
        read_provenance(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("given", "{"),
        ("given", "[" * 100_000),
        ("given", "{}"),
        ("given", '{"model": 3}'),
        ("backends", "7"),
        ("backends", "[]"),
        ("given", '{"model": "a", "seed": -1}'),
        ("backend", "another"),
        ("accuracy", '{"samples": "many"}'),
        ("versions", "[1]"),
    ],
)
def test_what_is_damaged_is_refused(key: str, value: str) -> None:
    made = model()
    stamp(made, TOLD)
    (entry,) = [entry for entry in made.metadata_props if entry.key == f"onnxq.{key}"]
    entry.value = value
    with pytest.raises(ModelError, match="is damaged"):
        provenance_of(made)


def test_another_format_is_said() -> None:
    made = model()
    made.metadata_props.add(key="onnxq.provenance", value="2")
    with pytest.raises(ModelError, match="in format '2'; this onnxq reads 1"):
        provenance_of(made)


def test_the_summary_has_every_fact_and_no_control_characters() -> None:
    said = summary(TOLD)
    for fact in (
        "onnxq quantize, for openvino, together with onnxruntime, weights of 7 bits",
        "ab" * 32,
        "random numbers of seed 3, 64, sha256 " + "cd" * 32,
        "{'scale': 0.5}",
        "01" * 32,
        "02" * 32,
        "onnxq 1, numpy 2",
        "top1 99.8 -> 99.7 %, SQNR 38.6 dB, on 64 samples",
        "- plan",
    ):
        assert fact in said
    assert "not measured" in summary(BARE)
    evil = Provenance("quantize", "\x1b[2J", ("a",), "passes:\x07\n", Given("\r"))
    assert all(c.isprintable() or c == "\n" for c in summary(evil))
