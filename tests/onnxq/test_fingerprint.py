"""The same content has the same fingerprint, wherever it lies."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest

from large_model import large_model
from onnxq import outside
from onnxq.errors import DataError
from onnxq.fingerprint import fingerprint_of_file, fingerprint_of_samples
from onnxq.model import load_marked
from onnxq.testing import normal, parse

MODEL = parse("g (float[N,96] x) => (float[N,96] y) { y = MatMul(x, w) }", w=normal(96, 96))


def mark(model: onnx.ModelProto | Path) -> str:
    return load_marked(model)[1]


def test_of_a_model_by_its_content(tmp_path: Path) -> None:
    onnx.save(MODEL, tmp_path / "one.onnx")
    beside = onnx.ModelProto()
    beside.CopyFrom(MODEL)
    (tmp_path / "there").mkdir()
    onnx.save(beside, tmp_path / "there/two.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    found = {mark(MODEL), mark(tmp_path / "one.onnx"), mark(tmp_path / "there/two.onnx")}
    assert found == {sha256(MODEL.SerializeToString(deterministic=True)).hexdigest()}


def test_of_every_weight_and_every_name(tmp_path: Path) -> None:
    onnx.save(MODEL, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    before = mark(tmp_path / "m.onnx")
    data = bytearray((tmp_path / "w.bin").read_bytes())
    data[17] ^= 1
    (tmp_path / "w.bin").write_bytes(data)
    renamed = parse("g (float[N,96] x) => (float[N,96] y) { [n] y = MatMul(x, w) }", w=normal(96, 96))
    assert len({before, mark(tmp_path / "m.onnx"), mark(renamed)}) == 3


def test_of_weights_that_stay_in_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "LIMIT", 70_000)
    monkeypatch.setattr(outside, "SMALL", 1_000)
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found.append(large_model(tmp_path / name, 4, 96))
    assert mark(found[0]) == mark(found[1])
    (data,) = [path for path in found[1].parent.iterdir() if path != found[1]]
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    assert mark(found[0]) != mark(found[1])


def test_of_samples_in_their_order() -> None:
    words = np.array([1, 2, 3], np.uint64)
    assert fingerprint_of_samples(words) == sha256(bytes.fromhex("".join(f"0{n}{'00' * 7}" for n in "123"))).hexdigest()
    assert fingerprint_of_samples(words[::-1]) != fingerprint_of_samples(words)


def test_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc" * 1_000_000)
    assert fingerprint_of_file(tmp_path / "f") == sha256(b"abc" * 1_000_000).hexdigest()
    with pytest.raises(DataError, match="cannot be read"):
        fingerprint_of_file(tmp_path / "none")
