"""What each optional pass of the default recipe brings, on every model of the corpus and every backend: the table of
`onnxq quantize --ablate`, with the metric of the model's task on test data.

    python tests/bench/what_passes_bring.py [MODEL ...]
"""

import sys
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from command import BACKENDS
from corpus import CORPUS, FOLDER, MISSING, SAMPLES, TASKS, feeds, judge, labelled, path_of
from onnxq import Options, Preprocessing, quantize
from onnxq.ablation_table import named
from onnxq.inputs import Array, input_specs
from onnxq.metrics import BoxAP, Metric, Top1
from onnxq.model import load_model
from table import table

TESTS = 1000
SIDE = 416  # of YOLOX's images
TRUTH = FOLDER / "data" / "coco_val" / "instances.json"
COLUMNS = ("model", "backend", "SQNR dB", "brings dB", "metric %", "brings", "nodes", "seconds", "left out")


def rows(names: Sequence[str]) -> Iterator[list[object]]:
    for name in names:
        test, metric = test_data(name)
        with feeds(TASKS[name], SAMPLES[TASKS[name]]) as data:
            options = Options(build=False)
            found = quantize(
                path_of(name), data, backend=BACKENDS, options=options, test=test, metric=metric, ablate=True
            ).ablation
        assert found is not None
        for backend in BACKENDS:
            for variant in found.variants:
                outcome = variant.backends[backend]
                brought = ("=", "=") if outcome.same_graph else (outcome.brought_db, outcome.brought)
                cells = [outcome.sqnr_db, brought[0], outcome.score, brought[1], outcome.nodes, outcome.seconds]
                said = outcome.problem or named(variant.without)
                yield [name, backend, *("" if cell is None else cell for cell in cells), said]


def test_data(name: str) -> tuple[Mapping[str, Array], Metric]:
    """Samples with labels, by input, and what they are judged by."""
    (spec,) = input_specs(load_model(path_of(name)))
    task = TASKS[name]
    if task == "coco":
        images = sorted((FOLDER / "data" / "coco_val" / "images").glob("*.jpg"))
        ids = np.array([int(path.stem) for path in images])
        pixels = np.concatenate([judge().letterbox(path)[0] for path in images])
        how = Preprocessing(resize=SIDE, fit="letterbox", color="BGR")
        return {spec.name: pixels, "labels": ids}, BoxAP(TRUTH, (SIDE, SIDE), how)
    inputs, labels = labelled(task, TESTS)
    return {spec.name: inputs, "labels": labels}, Top1()


if __name__ == "__main__":
    if CORPUS:
        table("What each pass brings to the Q/DQ graph", COLUMNS, rows(sys.argv[1:] or tuple(TASKS)))
    else:
        print(MISSING)
