"""How an engine of TensorRT is run, with stand-ins for TensorRT and the GPU."""

import gc
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from polygraphy.exception import PolygraphyException

from onnxq.backends import tensorrt
from onnxq.backends.tensorrt_compile import Compiled, compile_for_batches
from onnxq.errors import EngineError
from onnxq.execute import Session
from onnxq.testing import named, normal, parse

rtx = pytest.importorskip("tensorrt_rtx")


class Inspector:
    def get_engine_information(self, form: object) -> str:
        tensor = {"Name": "t", "Datatype": "Int8"}
        layer = {"Name": "fc", "LayerType": "gemm", "Inputs": [tensor], "Constants": [tensor], "Outputs": [tensor]}
        return json.dumps({"Layers": [{**layer, "Metadata": "[ONNX Layer: fc]"}]})


class Runner:
    """In place of Polygraphy's: it computes on the CPU, in buffers that it reuses, as that does on a GPU."""

    active = 0

    def __init__(self, engine: Any) -> None:
        self.session = Session(engine.model)
        self.buffers: dict[str, np.ndarray[Any, Any]] = {}

    def activate(self) -> None:
        Runner.active += 1

    def deactivate(self) -> None:
        Runner.active -= 1

    def infer(self, feeds: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        for name, array in self.session.run(feeds).items():
            buffer = self.buffers.setdefault(name, np.empty(array.size, array.dtype))
            buffer.resize(array.size, refcheck=False)
            buffer[:] = array.ravel()
        return {name: buffer.reshape(len(feeds["x"]), -1) for name, buffer in self.buffers.items()}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> onnx.ModelProto:
    """A machine whose TensorRT and GPU are stand-ins, and a model for it."""
    model = named(parse("g (float[N,16] x) => (float[N,4] y) { [fc] y = MatMul(x, w) }", w=normal(16, 4)))
    engine = SimpleNamespace(model=model, create_engine_inspector=Inspector)
    runtime = SimpleNamespace(deserialize_cuda_engine=lambda plan: engine if plan else None)
    full = SimpleNamespace(
        __version__="11.4", Runtime=lambda logger: runtime, LayerInformationFormat=SimpleNamespace(JSON=0)
    )

    def compiled(trt: Any, title: str, model: onnx.ModelProto, shapes: Any) -> Compiled:
        return compile_for_batches(rtx, title, model, shapes, rtx.ComputeCapability.SM89)

    monkeypatch.setattr(tensorrt, "_gpu_present", lambda: True)
    monkeypatch.setattr(tensorrt, "_import", lambda name: full if name == "tensorrt" else rtx)
    monkeypatch.setattr(tensorrt, "compile_for_batches", compiled)
    monkeypatch.setattr("polygraphy.backend.trt.TrtRunner", Runner)
    return model


def test_where_there_is_a_gpu_one_engine_runs_every_batch(gpu: onnx.ModelProto) -> None:
    engine = tensorrt.build(gpu)
    reading = engine.read_back()
    assert (reading.engine, reading.executed) == ("TensorRT 11.4", True)
    assert [(layer.node, layer.precision) for layer in reading.layers] == [("fc", "int8")]
    answers = {}
    for batch in (1, 64, 5):
        x = normal(batch, 16, seed=batch)
        answers[batch] = engine.run({"x": x})["y"], Session(gpu).run({"x": x})["y"]
    for found, expected in answers.values():  # after the last run, so that no answer may be a buffer
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(EngineError, match=r"TensorRT 11.4: input 'x' is \[65, 16\]"):
        engine.run({"x": normal(65, 16)})
    assert Runner.active == 1
    del engine
    gc.collect()
    assert Runner.active == 0


def test_what_the_runner_refuses_is_an_engine_error(gpu: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PolygraphyException("no memory")

    engine = tensorrt.build(gpu)
    monkeypatch.setattr(Runner, "infer", refuse)
    with pytest.raises(EngineError, match=r"TensorRT 11.4: no memory"):
        engine.run({"x": normal(1, 16)})
    monkeypatch.setattr(Runner, "activate", refuse)
    with pytest.raises(EngineError, match=r"TensorRT 11.4: no memory"):
        tensorrt.build(gpu)
