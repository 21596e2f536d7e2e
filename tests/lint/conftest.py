"""What an engine makes of a small graph, beside what the rules say of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx
import pytest

from onnxq.backends import backend_of, tensorrt
from onnxq.checking.check import Checked, check


@dataclass(frozen=True)
class Seen:
    """``rules`` with their severity, ``precisions`` by layer, and what ``check`` found."""

    rules: Mapping[str, str]
    precisions: dict[str, str]
    found: Checked

    @property
    def refused(self) -> bool:
        return self.found.problem is not None

    @property
    def alike(self) -> float:
        """dB between the engine's worst output and the simulation's."""
        return min(out.engine_graph for entry in self.found.parities for out in entry.outputs)

    @property
    def speedup(self) -> float:
        (entry,) = self.found.parities
        assert entry.speedup is not None
        return entry.speedup


@pytest.fixture
def see(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Seen]:
    """``see(model, "openvino")``; TensorRT is compiled with TensorRT-RTX, also where a GPU is at hand."""
    monkeypatch.setattr(tensorrt, "_gpu_present", lambda: False)

    def look(model: onnx.ModelProto, backend: str, *batches: int, seconds: float = 0.0) -> Seen:
        pytest.importorskip(backend_of(backend).modules[-1])
        found = check(model, backend, batches=batches or (2,), seconds=seconds)
        layers = found.reading.layers if found.reading is not None else ()
        rules = {entry.rule: entry.severity for entry in found.findings}
        return Seen(rules, {layer.node: layer.precision for layer in layers}, found)

    return look
