"""One scale per weight beside one per channel, as the corpus judges the graphs, on every backend.

    python tests/bench/per_tensor.py [MODEL ...]

Per tensor a model may lose half a point if its channels are spread, and be 1 dB behind its unspread twin; the others
have the limits below. ResNet-20 must also gain by the rewrites that are no folds, and be near the graph per channel.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from command import BACKENDS
from corpus import CORPUS, MISSING, SAMPLES, TASKS, feeds, path_of
from figures import Figures, figures, fp32
from onnxq import Options, Recipe, load_recipe, quantize
from onnxq.workspace import FloatRewrite
from rewrites import FOLDS
from table import table

MODELS = ("resnet20", "resnet20_spread", "kws_dscnn", "kws_dscnn_spread", "mobilenetv2_cifar10")
MOST_POINTS = {"resnet20_spread": 0.5, "kws_dscnn_spread": 0.5, "mobilenetv2_cifar10": 0.3, "kws_dscnn": 0.25}
MOST_POINTS_PER_CHANNEL = {"mobilenetv2_cifar10": 0.2}
BEHIND_TWIN_DB = 1.0
BEHIND_CHANNELS_DB = {"resnet20": 0.7}
SPREAD = "_spread"
COLUMNS = ("model", "backend", "FP32 %", "per tensor %", "per tensor dB", "per channel %", "per channel dB", "verdict")


@dataclass(frozen=True)
class Case:
    """A model on one backend; ``twin``: the unspread model per tensor; ``bare``: per tensor, by folds alone."""

    name: str
    per_tensor: Figures
    per_channel: Figures
    twin: Figures | None = None
    bare: Figures | None = None


def rows(names: Sequence[str]) -> Iterator[list[object]]:
    for name in names:
        for backend in BACKENDS:
            case = _case(name, backend)
            cells = [cell for found in (case.per_tensor, case.per_channel) for cell in (found.score, found.sqnr_db)]
            yield [name, backend, fp32(name)[0], *cells, verdict(case)]


def _case(name: str, backend: str) -> Case:
    twin = _judged(name.removesuffix(SPREAD), per_tensor=True)[backend] if name.endswith(SPREAD) else None
    bare = _judged(name, per_tensor=True, bare=True)[backend] if name in BEHIND_CHANNELS_DB else None
    return Case(name, _judged(name, per_tensor=True)[backend], _judged(name, per_tensor=False)[backend], twin, bare)


@cache
def _judged(name: str, *, per_tensor: bool, bare: bool = False) -> Mapping[str, Figures]:
    """By backend; ``bare``: without the float rewrites of the default recipe that are no folds."""
    recipe = load_recipe("default")
    if bare:
        kept = (s for s in recipe.passes if not isinstance(s, FloatRewrite) or s.name.startswith(FOLDS))
        recipe = Recipe(tuple(kept))
    options = Options(build=False, per_tensor=per_tensor)
    with feeds(TASKS[name], SAMPLES[TASKS[name]]) as data:
        found = quantize(path_of(name), data, backend=BACKENDS, recipe=recipe, options=options)
    return {backend: figures(name, entry.model) for backend, entry in found.backends.items()}


def verdict(case: Case) -> str:
    missed = _points(case.per_tensor, MOST_POINTS.get(case.name), "per tensor")
    missed += _points(case.per_channel, MOST_POINTS_PER_CHANNEL.get(case.name), "per channel")
    if case.twin is not None:
        missed += _behind(case.per_tensor, case.twin, BEHIND_TWIN_DB, "its twin")
    if case.name in BEHIND_CHANNELS_DB:
        missed += _behind(case.per_tensor, case.per_channel, BEHIND_CHANNELS_DB[case.name], "per channel")
    if case.bare is not None and case.per_tensor.sqnr_db <= case.bare.sqnr_db:
        missed.append(f"the rewrites bring {case.per_tensor.sqnr_db - case.bare.sqnr_db:.2f} dB")
    return f"MISSED: {', '.join(missed)}" if missed else "ok"


def _points(found: Figures, most: float | None, how: str) -> list[str]:
    # Scores have two decimals; a difference of them has a rest in binary.
    return [f"{found.lost:.2f} points {how}"] if most is not None and round(found.lost, 2) > most else []


def _behind(found: Figures, other: Figures, most: float, whom: str) -> list[str]:
    behind = other.sqnr_db - found.sqnr_db
    return [f"{behind:.2f} dB behind {whom}"] if behind > most else []


if __name__ == "__main__":
    if CORPUS:
        table("Weights per tensor beside per channel, Q/DQ graphs", COLUMNS, rows(sys.argv[1:] or MODELS))
    else:
        print(MISSING)
