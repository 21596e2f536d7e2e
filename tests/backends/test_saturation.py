"""Weights of 7 bits where sums of u8 x s8 saturate."""

import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onnxq.backends import backend_of
from onnxq.backends.backend import Backend
from onnxq.backends.saturation import reduced, saturates
from onnxq.options import Options
from onnxq.pipeline import quantize
from onnxq.testing import normal, parse


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="only Linux tells its CPU's flags so")
def test_this_cpu_is_what_its_flags_say() -> None:
    flags = Path("/proc/cpuinfo").read_text()
    expected = platform.machine() == "x86_64" and "vnni" not in flags
    assert saturates() is expected


@pytest.mark.parametrize(
    ("wanted", "saturating", "bits"),
    [(None, False, 8), (None, True, 7), (True, False, 7), (False, True, 8)],
)
def test_bits_are_as_asked_or_as_the_cpu_needs(wanted: bool | None, saturating: bool, bits: int) -> None:
    backend = replace(backend_of("onnxruntime"), saturates=lambda: saturating)
    assert reduced(backend, wanted).weight.bits == bits


@pytest.mark.parametrize("name", ["tensorrt", "qnn"])
def test_an_engine_off_the_cpu_is_left_alone(name: str) -> None:
    backend = backend_of(name)
    assert reduced(backend, True) is backend


def weights(backend: str | Backend, reduce_range: bool | None) -> tuple[int, list[str]]:
    """The largest weight integer of a small model, and what the ledger says was changed."""
    model = parse("g (float[1,4] x) => (float[1,4] y) { y = MatMul(x, w) }", w=normal(4, 4))
    options = Options(build=False, reduce_range=reduce_range)
    result = quantize(model, {"x": normal(8, 4)}, backend=backend, options=options)
    (entry,) = result.backends.values()
    largest = max(int(np.abs(rounded.integers.astype(int)).max()) for rounded in entry.weights.values())
    return largest, [fact.reason for fact in entry.ledger.entries if fact.kind == "changed"]


def test_reduced_weights_are_in_the_graph_and_in_the_ledger() -> None:
    largest, said = weights("openvino", True)
    assert largest == 63 and any("7 bits" in reason for reason in said)
    largest, said = weights("openvino", False)
    assert largest == 127 and not any("7 bits" in reason for reason in said)
