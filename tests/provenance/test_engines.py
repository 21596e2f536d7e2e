"""Engines build a model that tells where it comes from as one that does not."""

from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest

from onnxq.backends import BACKENDS, backend_of
from onnxq.checking.check import check
from onnxq.models.card import load_card
from onnxq.options import Options
from onnxq.pipeline import quantize
from onnxq.provenance import read_provenance


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_engine_does_not_mind(backend: str, tmp_path: Path) -> None:
    if not any(map(find_spec, backend_of(backend).modules)):
        pytest.skip(f"{backend} is not installed")
    card = load_card("digits_mobilenet")
    quantize(card, backend=backend, options=Options(build=False, samples=16)).save(tmp_path / "q.onnx")
    assert read_provenance(tmp_path / "q.onnx").backend == backend
    bare = onnx.load(tmp_path / "q.onnx")
    del bare.metadata_props[:]
    told, plain = (
        check(model, backend, data=str(card.calibration_path), preprocessing=card.preprocessing, seconds=0.01)
        for model in (tmp_path / "q.onnx", bare)
    )
    assert told.problems == plain.problems == ()
    assert told.int8_macs == plain.int8_macs and (told.int8_macs or 0) > 0.85
