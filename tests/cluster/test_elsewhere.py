"""Candidates of a search that are tried on a cluster: the same outcomes, and the same recipe."""

from dataclasses import replace
from pathlib import Path

import pytest
from distributed import Client

from onnxq import Options, Tuned, load_card, tune
from onnxq.tuning import trials
from onnxq.tuning.candidate import Outcome

pytestmark = pytest.mark.slow


def searched(out: Path, client: Client | None) -> Tuned:
    options = Options(weight_bits=2, per_tensor=True, cluster=client)
    return tune(load_card("digits_mobilenet"), backend="openvino", max_drop=0.5, budget=120, options=options, out=out)


def test_as_in_one_process(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = searched(tmp_path / "here.onnx", None)
    monkeypatch.setattr(trials.Trials, "__call__", lambda *asked: pytest.fail("a candidate was tried here"))
    there = searched(tmp_path / "there.onnx", client)
    assert there.keeps and len(here.outcomes) > 1
    assert [_lasting(one) for one in there.outcomes] == [_lasting(one) for one in here.outcomes]
    assert [one.number for one in there.counterexamples] == [one.number for one in here.counterexamples]
    for suffix in (".onnx", ".yaml"):
        one, other = ((tmp_path / name).with_suffix(suffix).read_bytes() for name in ("here", "there"))
        assert one == other


def _lasting(one: Outcome) -> Outcome:
    """Without what depends on the number of cores in its last bits, or on the clock."""
    noise = None if one.noise is None else float(f"{one.noise:.4g}")
    return replace(one, seconds=0.0, noise=noise, worst=None)
