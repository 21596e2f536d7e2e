"""What `balance_activations` is for: YOLOX-nano, whose depthwise layers read channels of unlike ranges, and a vision
transformer, with the pass and without, as the corpus judges the graphs, and on the OpenVINO engine too.

    python tests/bench/balance.py [MODEL ...]

With it, YOLOX-nano may lose 0.4 of box AP with every Conv in INT8, the transformer 0.3 points; and SQNR must be better
than without.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence

import onnx

from command import BACKENDS
from corpus import CORPUS, MISSING, SAMPLES, TASKS, feeds, path_of
from figures import Figures, figures, fp32
from onnxq import Options, Recipe, load_recipe, quantize
from onnxq.backends import backend_of
from onnxq.inputs import input_specs
from onnxq.passes import BalanceActivations
from table import table

MOST_POINTS = {"yolox_nano": 0.4, "vit_cifar10": 0.3}
COLUMNS = (
    "model",
    "backend",
    "judged",
    "INT8 Conv",
    "FP32 %",
    "with %",
    "without %",
    "with dB",
    "without dB",
    "verdict",
)


def rows(names: Sequence[str]) -> Iterator[list[object]]:
    for name in names:
        graphs = {balanced: _graphs(name, balanced=balanced) for balanced in (True, False)}
        for backend in BACKENDS:
            integers, convs = int8_convs(backend, graphs[True][backend])
            for where in ("onnxruntime", "openvino") if backend == "openvino" else ("onnxruntime",):
                found, without = (figures(name, graphs[balanced][backend], where) for balanced in (True, False))
                judged = "graph" if where == "onnxruntime" else "engine"
                cells = [found.score, without.score, found.sqnr_db, without.sqnr_db]
                said = verdict(name, found, without, convs - integers)
                yield [name, backend, judged, f"{integers}/{convs}", fp32(name)[0], *cells, said]


def _graphs(name: str, *, balanced: bool) -> Mapping[str, onnx.ModelProto]:
    steps = load_recipe("default").passes
    recipe = Recipe(tuple(step for step in steps if balanced or not isinstance(step, BalanceActivations)))
    with feeds(TASKS[name], SAMPLES[TASKS[name]]) as data:
        found = quantize(path_of(name), data, backend=BACKENDS, recipe=recipe, options=Options(build=False))
    return {backend: entry.model for backend, entry in found.backends.items()}


def int8_convs(backend: str, graph: onnx.ModelProto) -> tuple[int, int]:
    """How many Conv of the engine run in INT8, and of how many."""
    shapes = {spec.name: tuple(s if isinstance(s, int) else 1 for s in spec.shape) for spec in input_specs(graph)}
    layers = backend_of(backend).engine(graph, shapes).read_back().layers
    convs = [layer for layer in layers if layer.op_type == "Conv"]
    return sum(layer.precision == "int8" for layer in convs), len(convs)


def verdict(name: str, balanced: Figures, without: Figures, in_float: int) -> str:
    """``in_float``: how many Conv are; a transformer may leave the ones in front as they are."""
    lost = round(balanced.lost, 2)
    missed = [f"{lost:.2f} points lost"] if lost > MOST_POINTS[name] else []
    if name == "yolox_nano" and in_float:
        missed.append(f"{in_float} Conv in float")
    if balanced.sqnr_db <= without.sqnr_db:
        missed.append(f"brings {balanced.sqnr_db - without.sqnr_db:.2f} dB")
    return f"MISSED: {', '.join(missed)}" if missed else "ok"


if __name__ == "__main__":
    if CORPUS:
        table("With balanced activations and without", COLUMNS, rows(sys.argv[1:] or tuple(MOST_POINTS)))
    else:
        print(MISSING)
