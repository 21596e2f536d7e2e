"""Graphs of the same model by other quantizers: onnxruntime's own, and NNCF's where it is installed.

All are given the model after onnxruntime's ``quant_pre_process``: for NNCF's that makes the faster graphs. Calibrators
are their defaults.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx

from quantizers import Quantizer, Task, installed, running
from subjects import Subject

QUANTIZERS = (
    Quantizer("ort U8S8", "onnxruntime", batch=1),
    Quantizer("ort S8S8", "onnxruntime", {"u8s8": False}, batch=1),
    Quantizer("nncf perf", "nncf", {"preset": "performance"}, batch=1),
    Quantizer("nncf mixed", "nncf", {"preset": "mixed"}, batch=1),
)
GRAPHS = tuple(one.label for one in QUANTIZERS)


def graphs(subject: Subject) -> dict[str, onnx.ModelProto]:
    """By the names in GRAPHS, of those that are installed."""
    made = {}
    with preprocessed(subject.model) as path:
        samples, out = path.with_name("samples.npz"), path.with_name("made.onnx")
        arrays: dict[str, object] = dict(subject.samples)
        np.savez(samples, **arrays)  # type: ignore[arg-type]
        for one in installed(QUANTIZERS):
            with running(one) as quantize:
                quantize(Task(path, samples, subject.takes_batches), out)
            made[one.label] = onnx.load(out)
    return made


@contextmanager
def preprocessed(model: onnx.ModelProto) -> Iterator[Path]:
    """As onnxruntime's documentation advises before its quantizer, and at opset 13 or more, for scales per channel."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        source, path = Path(folder) / "source.onnx", Path(folder) / "preprocessed.onnx"
        onnx.save(onnx.version_converter.convert_version(model, 13) if _opset(model) < 13 else model, source)
        quant_pre_process(source, path, skip_symbolic_shape=True)
        yield path


def _opset(model: onnx.ModelProto) -> int:
    return next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
