"""Whatever models there are: each of the corpus's robust/ that onnxruntime runs in float, on every engine, as it was
and quantized.

    python tests/bench/robust.py [MODEL ...]

A cell says how many linear layers run in INT8, and where the engine runs here, the SQNR against FP32: of the best
output, because on random inputs some outputs are next to nothing; ``silent``, where all of them are zero.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import onnx

from command import BACKENDS
from corpus import CORPUS, FOLDER, MISSING, path_of
from onnxq import OnnxqError, Options, quantize
from onnxq.backends import onnxruntime as ort
from onnxq.backends import openvino, tensorrt
from onnxq.backends.engine import Engine
from onnxq.execute import Session
from onnxq.inputs import Array, InputSpec, input_specs
from onnxq.samples import open_samples
from onnxq.sqnr import sqnr_db
from table import table

COLUMNS = ("model", *BACKENDS, "verdict")
Feeds = Mapping[str, Array]
DOORS: dict[str, Callable[[onnx.ModelProto, Feeds], Engine]] = {
    "onnxruntime": lambda model, feeds: ort.build(model),
    "openvino": lambda model, feeds: openvino.build(model, shapes={name: a.shape for name, a in feeds.items()}),
    "tensorrt": lambda model, feeds: tensorrt.BACKEND.engine(model, {name: a.shape for name, a in feeds.items()}),
}
COUNT = 4
LEAST_DB = 15.0
SIDE = 160  # of images whose size is open
RATE = 16000  # the only integer input is a sampling rate
SHAPES = {  # of one feed, where the model does not tell
    "silero_vad": {"input": (1, 512), "state": (2, 1, 128), "sr": ()},
    "silero_vad_openvino_16k": {"input": (1, 576), "state": (2, 1, 128)},
}


def robustness(names: Sequence[str]) -> Iterator[list[object]]:
    for name in names:
        model = onnx.load(path_of(name))
        try:
            samples = random_samples(name, input_specs(model))
            feeds = next(iter(open_samples(samples, input_specs(model)).take(1).batches(1))).feeds
            wanted = Session(model).run(feeds)
        except OnnxqError as error:
            yield [name, *["-"] * len(BACKENDS), f"not run in float: {error}"]
            continue
        cells, remarks = zip(*(_cell(model, samples, feeds, wanted, backend) for backend in BACKENDS), strict=True)
        yield [name, *cells, "; ".join(filter(None, remarks)) or "ok"]


def _cell(model: onnx.ModelProto, samples: Feeds, feeds: Feeds, wanted: Feeds, backend: str) -> tuple[str, str]:
    """What the engine made of the quantized model, and what is wrong with that or with the float model."""
    try:
        result = quantize(model, samples, backend=backend, options=Options(build=False))[backend]
        engine = DOORS[backend](result.model, feeds)
        reading = engine.read_back()
        found = engine.run(feeds) if reading.executed else {}
    except OnnxqError as error:
        refusal = _refusal_in_float(model, feeds, backend)
        return ("not in float", f"{backend} refuses the float model: {refusal}") if refusal else ("FAILED", str(error))
    integers = sum(layer.precision == "int8" for layer in reading.layers)
    cell = f"{integers}/{len(reading.layers)}"
    if not reading.executed:
        return cell, ""
    if not any(np.any(array) for array in wanted.values()):
        return f"{cell} silent", ""
    likeness = max(sqnr_db(wanted[name], found[name]) for name in found)
    return f"{cell} {likeness:.0f} dB", "" if likeness > LEAST_DB else f"{backend}: outputs differ"


def _refusal_in_float(model: onnx.ModelProto, feeds: Feeds, backend: str) -> str:
    try:
        engine = DOORS[backend](model, feeds)
        if engine.read_back().executed:
            engine.run(feeds)
    except OnnxqError as error:
        return str(error)
    return ""


def random_samples(name: str, inputs: Sequence[InputSpec]) -> Feeds:
    """Four feeds of random numbers, one behind the other along axis 0."""
    random = np.random.default_rng(0)
    return {spec.name: _random(spec, (COUNT, *_shape(name, spec)), random) for spec in inputs}


def _random(spec: InputSpec, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if spec.dtype.kind == "f":
        return random.standard_normal(shape).astype(spec.dtype)
    return np.full(shape, RATE if spec.dtype == np.int64 else 0).astype(spec.dtype)


def _shape(name: str, spec: InputSpec) -> tuple[int, ...]:
    """Of one sample: without the batch axis, unless the feeds of the model have none."""
    if name in SHAPES:
        return SHAPES[name][spec.name]
    return tuple(size if isinstance(size, int) else SIDE for size in spec.shape[1:])


if __name__ == "__main__":
    if CORPUS:
        names = sys.argv[1:] or sorted(path.stem for path in (FOLDER / "robust").glob("*.onnx"))
        table("Any model: INT8 layers and SQNR where its float form runs", COLUMNS, robustness(names))
    else:
        print(MISSING)
