"""Graphs of the same model by other quantizers: onnxruntime's own, and NNCF's, which has a Python of its own.

onnxruntime's graphs are made after its ``quant_pre_process``, with min-max ranges, and given to NNCF preprocessed too:
that is the faster of both ways there.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx

from onnxq.inputs import Array
from subjects import Subject

NNCF_PYTHON = os.environ.get("ONNXQ_PEERS")
MISSING = "ONNXQ_PEERS does not name a Python with NNCF: its graphs were not measured."


GRAPHS = ("ort U8S8", "ort S8S8", "nncf perf", "nncf mixed")


class Reader:
    """One sample at a time, as onnxruntime's quantizer asks for them."""

    def __init__(self, samples: Mapping[str, Array]) -> None:
        count = len(next(iter(samples.values())))
        self._feeds = iter([{name: array[i : i + 1] for name, array in samples.items()} for i in range(count)])

    def get_next(self) -> dict[str, Array] | None:
        return next(self._feeds, None)


def graphs(subject: Subject) -> dict[str, onnx.ModelProto]:
    """By the names in GRAPHS; the first two where there is no NNCF."""
    with _preprocessed(subject.model) as path:
        made = [_onnxruntime(path, subject.samples, u8s8=True), _onnxruntime(path, subject.samples, u8s8=False)]
        presets = ("performance", "mixed") if NNCF_PYTHON else ()
        made += [_nncf(path, subject.samples, preset) for preset in presets]
    return dict(zip(GRAPHS, made, strict=False))


@contextmanager
def _preprocessed(model: onnx.ModelProto) -> Iterator[Path]:
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        source, path = Path(folder) / "source.onnx", Path(folder) / "preprocessed.onnx"
        onnx.save(onnx.version_converter.convert_version(model, 13) if _opset(model) < 13 else model, source)
        quant_pre_process(source, path, skip_symbolic_shape=True)
        yield path


def _opset(model: onnx.ModelProto) -> int:
    return next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def _onnxruntime(path: Path, samples: Mapping[str, Array], *, u8s8: bool) -> onnx.ModelProto:
    """U8S8 per channel, which is what its documentation advises on x86; or its defaults, S8S8 per tensor."""
    from onnxruntime.quantization import QuantType, quantize_static

    made = path.with_name("onnxruntime.onnx")
    options = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "per_channel": True} if u8s8 else {}
    quantize_static(path, made, Reader(samples), **options)
    return onnx.load(made)


def _nncf(path: Path, samples: Mapping[str, Array], preset: str) -> onnx.ModelProto:
    data, made = path.with_name("samples.npz"), path.with_name("nncf.onnx")
    arrays: dict[str, object] = dict(samples)
    np.savez(data, **arrays)  # type: ignore[arg-type]
    command = [str(NNCF_PYTHON), str(Path(__file__).with_name("quantize_with_nncf.py")), path, data, preset, made]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"NNCF: {done.stderr.strip().splitlines()[-1]}")
    return onnx.load(made)
