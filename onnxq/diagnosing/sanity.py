"""Is the float model sane on the engine? Nothing that quantization does can mend it where it is not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from onnxq.backends.backend import Backend
from onnxq.build import engine_that_runs
from onnxq.diagnosing.parts import Tensors
from onnxq.errors import OnnxqError
from onnxq.execute import Session
from onnxq.held_out import Heard

FAR = 1e-4  # noise over signal in power, 40 dB: engines that compute in half precision have less


@dataclass(frozen=True)
class Sanity:
    """``noise`` of the FP32 model's outputs on the engine, against the graph computed node by node in onnxruntime; None
    where no engine ran, for which ``said`` has the reason. ``sane``: whether nothing speaks against it."""

    noise: float | None
    sane: bool
    said: str


def sanity(source: onnx.ModelProto, backend: Backend, batches: Sequence[Tensors]) -> Sanity:
    """On the first of ``batches``."""
    feeds = batches[0]
    answers = Session(source, optimize=False).run(feeds)
    floats = {name: array for name, array in answers.items() if array.dtype.kind == "f"}
    bad = [name for name, array in floats.items() if not np.isfinite(array).all()]
    if bad:
        return Sanity(None, False, f"output {bad[0]!r} is infinite or NaN")
    several = [array for array in floats.values() if array.ndim and len(array) > 1]
    if several and all((array == array[:1]).all() for array in several):
        return Sanity(None, False, "its outputs are the same for every sample")
    if backend.simulated:
        return Sanity(None, True, f"{backend.title} is simulated: no engine ran; onnxruntime's answers are finite")
    heard = Heard()
    try:
        engine, _ = engine_that_runs(backend, source, feeds)
        heard.add(answers, engine.run(feeds))
    except OnnxqError as error:
        return Sanity(None, True, f"no engine ran: {error}")
    sane = heard.noise <= FAR
    return Sanity(heard.noise, sane, "" if sane else "the engine's FP32 answers are not those of the graph")
