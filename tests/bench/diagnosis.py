"""Is a broken layer named first, and mended? One channel of its weights is made 100 times larger, which one grid for
all cannot hold; `onnxq diagnose` is asked, and what its recipe gives is judged on test data on the OpenVINO engine.

    python tests/bench/diagnosis.py [MODEL[:LAYER,LAYER...] ...]

LAYER: the number of a Conv, from 0. The layer is to come first, and the mended graph to lose 0.3 points.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx

from broken import PLAIN, broken, folded
from corpus import CORPUS, MISSING, SAMPLES, TASKS, feeds, path_of
from figures import figures, fp32
from onnxq import Options, diagnose, quantize
from onnxq.model import load_model
from onnxq.validation import parse_yaml
from table import table

LAYERS = {
    "resnet20": (0, 7, 12, 18),
    "mobilenetv2_cifar10": (0, 20, 36, 46, 51),
    "yolox_nano": (0, 5, 30, 47, 61, 90, 106),
}
MOST_POINTS = 0.3
BUDGET = 300.0  # seconds at most: a detector takes half of it on two cores
OPTIONS = Options(build=False, samples=32)
COLUMNS = ("model", "FP32", "broken", "mended", "lost", "rank", "of", "verdict", "layer, and what helps")


def rows(asked: Mapping[str, Sequence[int]]) -> Iterator[list[object]]:
    for name, layers in asked.items():
        whole = folded(load_model(path_of(name)))
        with feeds(TASKS[name], SAMPLES[TASKS[name]]) as data:
            for index in layers:
                model, layer = broken(whole, index)
                found = diagnose(model, data, backend="openvino", recipe=PLAIN, options=OPTIONS, budget=BUDGET)
                rank = 1 + [one.site.layer for one in found.layers].index(layer)
                recipes = PLAIN, parse_yaml(found.recipe, "recipe")
                was, now = (figures(name, _quantized(model, data, recipe), "openvino") for recipe in recipes)
                said = verdict(rank, now.lost)
                helps = f"{layer}: {', '.join(found.cure.names)}"
                yield [name, fp32(name)[0], was.score, now.score, now.lost, rank, len(found.layers), said, helps]


def _quantized(model: onnx.ModelProto, data: Path, recipe: Mapping[str, object]) -> onnx.ModelProto:
    options = Options(build=False)
    return quantize(model, data, backend="openvino", recipe=recipe, options=options).backends["openvino"].model


def verdict(rank: int, lost: float) -> str:
    missed = [f"named {rank}."] * (rank > 1) + [f"{lost:.2f} points lost"] * (round(lost, 2) > MOST_POINTS)
    return f"MISSED: {', '.join(missed)}" if missed else "ok"


def asked(words: Sequence[str]) -> dict[str, Sequence[int]]:
    """``resnet20:3,7`` or ``resnet20``, by model."""
    found: dict[str, Sequence[int]] = {}
    for word in words:
        name, _, layers = word.partition(":")
        found[name] = [int(layer) for layer in layers.split(",")] if layers else LAYERS[name]
    return found


if __name__ == "__main__":
    if CORPUS:
        table("One layer broken, diagnosed and mended", COLUMNS, rows(asked(sys.argv[1:]) or LAYERS))
    else:
        print(MISSING)
