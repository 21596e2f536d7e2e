"""Speed of the graphs that onnxq and its peers make, each on the same engine, one thread, in turns in one run.

    python tests/bench/engine_speed.py [MODEL ...]

Every figure is the FP32 model's CPU time over the graph's: 2.00 is twice as fast. CPU time, because a busy machine
takes turns away from the one or the other.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import onnx

import peers
from onnxq import Options, quantize
from onnxq.backends import onnxruntime as ort
from onnxq.backends import openvino
from onnxq.backends.engine import Engine
from onnxq.backends.timing import in_turns
from onnxq.errors import EngineError
from onnxq.inputs import Array
from quantizers import say_missing
from shapes import SHAPES
from subjects import Subject, subjects
from table import table

MODELS = (*SHAPES, "mobilenetv2_cifar10", "resnet20", "yolox_nano")
BATCHES = (1, 16)
DOORS: dict[str, Callable[[onnx.ModelProto, Mapping[str, Sequence[int]]], Engine]] = {
    "onnxruntime": lambda model, shapes: ort.build(model, threads=1),
    "openvino": lambda model, shapes: openvino.build(model, shapes=shapes, threads=1),
}
SLACK = 0.97
SECONDS = 20.0
COLUMNS = ("model", "engine", "batch", "FP32 ms", "onnxq", *peers.GRAPHS, "verdict")
Times = Mapping[str, Sequence[float]]


def speeds(models: Iterable[Subject], seconds: float = SECONDS) -> Iterator[list[object]]:
    """``seconds``: what the timed runs of a row take together."""
    for subject in models:
        ours = quantize(subject.model, subject.samples, backend=tuple(DOORS), options=Options(build=False))
        others = peers.graphs(subject)
        for engine in DOORS:
            graphs = {"FP32": subject.model, "onnxq": ours[engine].model, **others}
            for batch in BATCHES if subject.takes_batches else BATCHES[:1]:
                times, refusals = _timed(engine, graphs, subject.feeds(batch), seconds)
                cells = [ratio(times, "FP32", name) if name in times else "-" for name in ("onnxq", *peers.GRAPHS)]
                remarks = "; ".join([verdict(subject.name, times), *refusals])
                yield [subject.name, engine, batch, 1000 * statistics.median(times["FP32"]), *cells, remarks]


def _timed(
    engine: str, graphs: Mapping[str, onnx.ModelProto], feeds: Mapping[str, Array], seconds: float
) -> tuple[Times, list[str]]:
    """Seconds of CPU time by graph, round by round, and why graphs are missing that the engine refuses."""
    built, refusals = {}, []
    for name, model in graphs.items():
        try:
            built[name] = DOORS[engine](model, {name: array.shape for name, array in feeds.items()})
        except EngineError as error:
            refusals.append(f"{name}: {error}")
    rounds = in_turns(list(built.values()), feeds, seconds, time.process_time)
    return dict(zip(built, zip(*rounds, strict=True), strict=True)), refusals


def ratio(times: Times, first: str, second: str) -> float:
    """How many times as long the first takes as the second: the median over rounds, for what slows one slows both."""
    return statistics.median(a / b for a, b in zip(times[first], times[second], strict=True))


def verdict(name: str, times: Times) -> str:
    """At most 3 % slower than any peer's graph and than FP32, and faster than any peer's on MobileNetV2."""
    if "onnxq" not in times:
        return "REFUSED"
    against = {other: ratio(times, other, "onnxq") for other in times if other != "onnxq"}
    missed = [f"{1 / found:.2f} x {other}" for other, found in against.items() if found < SLACK]
    if name == "mobilenetv2":
        missed += [f"not faster than {other}" for other, found in against.items() if SLACK <= found <= 1]
    return f"MISSED: {', '.join(missed)}" if missed else "ok"


if __name__ == "__main__":
    say_missing(peers.QUANTIZERS)
    table("Speed against FP32 on the same engine, one thread", COLUMNS, speeds(subjects(sys.argv[1:] or MODELS)))
