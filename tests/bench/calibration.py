"""What calibration costs beside plain FP32 inference of the same samples by onnxruntime, in turns in one process; and
how its memory grows with the samples, in processes of their own.

    python tests/bench/calibration.py [MODEL ...]

Watching a ResNet-50's tensors may take 1.35 times as long for extremes, 1.6 times with histograms; whatever the
calibrator, ResNet-20 2 times and half a second, YOLOX-nano 1.6 times and half a second. Above the model it may take
150 MB and 300 kB a tensor, however many samples there are.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import onnx

from corpus import CORPUS, TASKS, feeds, path_of
from onnxq.backends import backend_of
from onnxq.execute import Session
from onnxq.model import load_model, to_graph
from onnxq.passes import Calibrate, DropIdle, FoldBatchNorm, FoldConstants, FoldScale, FusePad, PlanIntegers
from onnxq.passes.calibrate import collect  # noqa: F401 - for the processes below
from onnxq.samples import input_specs, open_samples
from onnxq.workspace import Workspace
from shapes import SHAPES
from table import table

CALIBRATORS = ("minmax", "mean_minmax", "moving_average", "percentile", "entropy", "mse", "lp", "auto")
FOLDS = (FoldConstants(), DropIdle(), FusePad(), FoldBatchNorm(), FoldScale(), PlanIntegers())
BATCHES = (1, 8, 32)
REPEATS = 5
COLUMNS = ("model", "samples", "tensors", "calibrator", "plain s", "calibrate s", "ratio", "allowed s", "verdict")


@dataclass(frozen=True)
class Case:
    """A model, how many samples, and how many times plain inference calibration may take, beside some seconds."""

    count: int
    times: Mapping[str, float]
    seconds: float = 0.0


CASES = {
    "resnet50": Case(64, {"minmax": 1.35, "mse": 1.6}),
    "resnet20": Case(512, dict.fromkeys(CALIBRATORS, 2.0), 0.5),
    "yolox_nano": Case(64, dict.fromkeys(CALIBRATORS, 1.6), 0.5),
}


def rows(names: Sequence[str]) -> Iterator[list[object]]:
    for name in names:
        if name in SHAPES or CORPUS:
            yield from _rows(name, CASES[name])


def _rows(name: str, case: Case) -> Iterator[list[object]]:
    model, data = subject(name, case.count)
    space = prepared(model, data)
    runs: dict[str, Callable[[], None]] = {f"plain {batch}": plain(space, data, batch) for batch in batches(space)}
    runs |= {calibrator: calibration(space, calibrator) for calibrator in case.times}
    taken: dict[str, list[float]] = {what: [] for what in runs}
    for run in runs.values():  # once to warm up
        run()
    for _ in range(REPEATS):
        for what, run in runs.items():
            start = time.perf_counter()
            run()
            taken[what].append(time.perf_counter() - start)
    found = {what: median(seconds) for what, seconds in taken.items()}
    least = min(seconds for what, seconds in found.items() if what.startswith("plain"))
    for calibrator, times in case.times.items():
        seconds, allowed = found[calibrator], times * least + case.seconds
        verdict = "ok" if seconds <= allowed else "MISSED"
        tensors = len(space.plan.watched)
        yield [name, case.count, tensors, calibrator, least, seconds, seconds / least, allowed, verdict]


def subject(name: str, count: int) -> tuple[onnx.ModelProto, dict[str, Any]]:
    if name in SHAPES:
        images = np.random.default_rng(0).standard_normal((count, 3, 224, 224), np.float32)
        return SHAPES[name](), {"input": images}
    with feeds(TASKS[name], count) as path, np.load(path) as held:
        return load_model(path_of(name)), {key: held[key] for key in held.files}


def prepared(model: onnx.ModelProto, data: Mapping[str, Any]) -> Workspace:
    """The graph as it is calibrated for OpenVINO, but for rewrites that go by samples."""
    source = load_model(model)
    space = Workspace(to_graph(source), source, open_samples(data, input_specs(source)), backend_of("openvino"))
    for step in FOLDS:
        step(space)
    return space


def batches(space: Workspace) -> Sequence[int]:
    first = space.graph.inputs[0].shape[0]
    return (first,) if isinstance(first, int) else BATCHES


def plain(space: Workspace, data: Mapping[str, Any], batch: int) -> Callable[[], None]:
    """Inference of all samples, in a session that is there already."""
    session, count = Session(space.model()), len(next(iter(data.values())))

    def run() -> None:
        for start in range(0, count, batch):
            session.run({name: array[start : start + batch] for name, array in data.items()})

    return run


def calibration(space: Workspace, calibrator: str) -> Callable[[], None]:
    """Watching and choosing ranges, from the graph on."""
    step = Calibrate(calibrator)

    def run() -> None:
        fresh = space.copy()
        fresh.statistics, fresh.kept = {}, {}
        step(fresh)

    return run


MEMORY = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[3])
import calibration as bench
import numpy as np
model, data = bench.subject(sys.argv[1], 16)
space = bench.prepared(model, data)
count = int(sys.argv[2])
def feeds():
    for start in range(0, count, 8):
        yield {name: array[:8] for name, array in data.items()}
from onnxq.samples import input_specs, open_samples
space.samples = open_samples(feeds, input_specs(space.source))
def kilobytes(line):
    text = pathlib.Path("/proc/self/status").read_text()
    return int(text.split(line + ":")[1].split()[0])
session = bench.Session(space.model())
session.run({name: array[:1] for name, array in data.items()})
floor = kilobytes("VmRSS")
del session
pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
bench.collect(space, space.plan.watched, True)
print(json.dumps([(kilobytes("VmHWM") - floor) / 1024, len(space.plan.watched)]))
"""


def memory(names: Sequence[str]) -> Iterator[list[object]]:
    """Above a process that has the model in a session and has run one sample. On Linux."""
    for name in names:
        for count in (64, 1000) if name == "resnet50" else (64, 10000):
            if name in SHAPES or CORPUS:
                here = str(sys.modules[__name__].__file__).rsplit("/", 1)[0]
                command = [sys.executable, "-c", MEMORY, name, str(count), here]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                peak, tensors = json.loads(done.stdout.splitlines()[-1])
                allowed = 150 + 0.3 * tensors
                yield [name, count, tensors, peak, allowed, "ok" if peak <= allowed else "MISSED"]


if __name__ == "__main__":
    wanted = sys.argv[1:] or tuple(CASES)
    table("Calibration beside plain FP32 inference", COLUMNS, rows(wanted))
    table(
        "Peak memory of calibration above the model, MB",
        ("model", "samples", "tensors", "peak", "allowed", "verdict"),
        memory([name for name in wanted if name != "yolox_nano"]),
    )
