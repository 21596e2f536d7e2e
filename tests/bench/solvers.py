"""What solvers of weights reach, and what they cost: the exact error of a layer's output over that of round to nearest,
at 4 and 3 bits per channel, and CPU seconds of one thread.

    python tests/bench/solvers.py [SOLVER ...]

On layers of every kind, on real models of the corpus with what their layers read, and on all layers of a ResNet-50 with
inputs made up, where `coordinate_descent` may take 300 s and 3000 MB, the moments of the largest layer included.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from corpus import CORPUS, TASKS, feeds, path_of
from onnxq.channels import activation
from onnxq.columns import columns_of
from onnxq.execute import Session, returning
from onnxq.graph import layout
from onnxq.model import to_graph
from onnxq.second_moments import Moments, SecondMoments
from onnxq.solving import SOLVERS, Grid, Problem, chosen, solve
from onnxq.weight_matrix import weight_matrix
from shapes import SHAPES
from table import table
from whole_run import python

LAYERS = {  # groups, outputs of a group, columns
    "linear 256": (1, 512, 256),
    "conv 64": (1, 64, 576),
    "conv 128": (1, 128, 1152),
    "depthwise 384": (384, 1, 9),
}
REAL = ("resnet20", "mobilenetv2_cifar10", "kws_dscnn")
SLOW = ("adaround",)  # hours, on a ResNet-50
COLUMNS = ("solver", "layers", "4 bits", "3 bits", "CPU s")
ALLOWED_SECONDS, ALLOWED_MB = 300, 3000
WATCHED = 64  # columns of each sample
Matrix = NDArray[np.float64]

PEAK = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[2])
import solvers as bench
def kilobytes(line):
    return int(pathlib.Path("/proc/self/status").read_text().split(line + ":")[1].split()[0])
weights = bench.resnet50()
floor = kilobytes("VmRSS")
pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
error, seconds = bench.on_all(weights, sys.argv[1])
print(json.dumps([error, seconds, (kilobytes("VmHWM") - floor) / 1024]))
"""


def rows(names: Sequence[str]) -> Iterator[list[object]]:
    for kind, layers in subjects():
        for name in names:
            found = {bits: [judged(problem(*layer, bits), name) for layer in layers] for bits in (4, 3)}
            ratios = [np.exp(np.mean(np.log([ratio for ratio, _ in found[bits]]))) for bits in found]
            yield [
                name,
                kind.removesuffix("_cifar10"),
                *(f"{ratio:.3f}" for ratio in ratios),
                sum(seconds for _, seconds in found[4]),
            ]


def subjects() -> Iterator[tuple[str, list[tuple[Matrix, Moments]]]]:
    for kind, (groups, outputs, columns) in LAYERS.items():
        weight = np.random.default_rng(0).standard_normal((groups, outputs, columns))
        yield kind, [(weight, made_up(groups, columns))]
    for name in REAL if CORPUS else ():
        yield name, real(name)


def judged(of: Problem, name: str) -> tuple[float, float]:
    """The error over that of the nearest integers, and the seconds."""
    start = time.process_time()
    found = solve(of, chosen(name))
    seconds = time.process_time() - start
    return float(of.error(found).sum() / of.error(solve(of, chosen("nearest"))).sum()), seconds


def problem(weight: Matrix, moments: Moments, bits: int) -> Problem:
    """Per channel and symmetric, reaching the largest weight."""
    highest = 2 ** (bits - 1) - 1
    reach = np.abs(weight).max(axis=2, keepdims=True)
    scale = np.where(reach > 0, reach, 1) / highest
    return Problem(weight, moments, Grid(scale, np.zeros_like(scale), -highest, highest))


@cache
def made_up(groups: int, columns: int) -> Moments:
    """Of inputs that are not negative and depend on each other: a few directions hold most of what they do."""
    random = np.random.default_rng(columns)
    directions = max(1, columns // 8)
    power = np.arange(1, directions + 1)[:, None] ** -0.5
    mixed = random.standard_normal((groups, directions, columns)) * power
    h = np.swapaxes(mixed, 1, 2) @ mixed
    mean = np.abs(random.standard_normal((groups, columns)))
    h += mean[:, :, None] * mean[:, None, :]
    h[:, np.arange(columns), np.arange(columns)] += 0.1 * random.uniform(0.2, 1, (groups, columns))
    return Moments((h,), 1)


def real(name: str) -> list[tuple[Matrix, Moments]]:
    """Every layer of a model of the corpus, with what it reads of samples."""
    model = onnx.load(path_of(name))
    graph = to_graph(model)
    nodes = [node for node in graph.nodes if layout(node) is not None]
    reads = [node.inputs[activation(node)].name for node in nodes]
    watched = [SecondMoments(read, columns_of(node), WATCHED).begin() for node, read in zip(nodes, reads, strict=True)]
    with feeds(TASKS[name], 128) as path, np.load(path) as held:
        (samples,) = held.values()
    given = graph.inputs[0].name
    session = Session(returning(model, sorted(set(reads) - {given})))
    for start in range(0, len(samples), 16):
        batch = samples[start : start + 16].astype(np.float32)
        made: Mapping[str, NDArray[Any]] = {given: batch, **session.run({given: batch})}
        for read, watch in zip(reads, watched, strict=True):
            watch.add(made[read], len(batch))
    weights = (weight_matrix(node).astype(np.float64) for node in nodes)
    return [(weight, watch.kept()) for weight, watch in zip(weights, watched, strict=True)]


def resnet50() -> list[Matrix]:
    nodes = to_graph(SHAPES["resnet50"]()).nodes
    return [weight_matrix(node).astype(np.float64) for node in nodes if layout(node) is not None]


def on_all(weights: Sequence[Matrix], name: str) -> tuple[float, float]:
    """The mean ratio of the errors and the seconds in all, at 4 bits; moments of one layer at a time."""
    found = []
    for weight in weights:
        made_up.cache_clear()
        found.append(judged(problem(weight, made_up(weight.shape[0], weight.shape[2]), 4), name))
    return float(np.exp(np.mean(np.log([ratio for ratio, _ in found])))), sum(seconds for _, seconds in found)


def large(names: Sequence[str]) -> Iterator[list[object]]:
    for name in names:
        if name not in SLOW:
            ratio, seconds, peak = python(PEAK, name, Path(__file__).parent)
            missed = name == "coordinate_descent" and (seconds > ALLOWED_SECONDS or peak > ALLOWED_MB)
            yield [name, f"{ratio:.3f}", seconds, peak, "MISSED" if missed else "ok"]


if __name__ == "__main__":
    wanted = sys.argv[1:] or [name for name in SOLVERS if name != "nearest"]
    table("Solvers: error over that of round to nearest, geometric mean of the layers", COLUMNS, rows(wanted))
    table(
        "All layers of a ResNet-50 at 4 bits",
        ("solver", "error", "CPU s", "peak MB", "verdict"),
        large(wanted),
    )
