"""The fastest graph that keeps the accuracy: how long the search takes, what it keeps in integers, and what is lost.

    python tests/bench/tuned.py [MODEL ...]

yolox_nano on OpenVINO: at most 0.3 AP lost, at least 90 % of multiply-accumulates in INT8, in under 5 minutes.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from corpus import CORPUS, FOLDER, MISSING, TASKS, path_of
from onnxq import tune
from onnxq.options import Options
from onnxq.preprocess import Preprocessing
from table import table

BUDGET = 300.0
LEAST_INT8 = 0.9
MAX_DROP = {"coco": 0.3, "cifar10": 0.1}
IMAGES = {
    "coco": Preprocessing(resize=416, fit="letterbox", color="BGR"),
    "cifar10": Preprocessing(scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
}
METRICS = {
    "coco": f"box_ap,labels={FOLDER / 'data/coco_val/instances.json'},decoder=yolox",
    "cifar10": "top1",
}
DATA = {"coco": ("coco_calib", "coco_val/images"), "cifar10": ("cifar10_calib.npz", "cifar10_test.npz")}
MODELS = ("yolox_nano", "mobilenetv2_cifar10")
COLUMNS = ("model", "FP32", "at most", "lost", "INT8 MACs", "tried", "s", "the best one", "verdict")


def searches(names: Sequence[str]) -> Iterator[list[object]]:
    for name in names:
        task = TASKS[name]
        samples, test = (Path(FOLDER) / "data" / part for part in DATA[task])
        start = time.perf_counter()
        found = tune(
            path_of(name),
            samples,
            test=test,
            metric=METRICS[task],
            max_drop=MAX_DROP[task],
            budget=BUDGET,
            backend="openvino",
            options=Options(preprocessing=IMAGES[task]),
        )
        seconds, best = time.perf_counter() - start, found.best
        if best is None or best.lost is None or best.int8 is None:
            yield [name, found.fp32, MAX_DROP[task], "-", "-", len(found.outcomes), seconds, "-", "MISSED"]
            continue
        missed = [f"{best.lost:.2f} lost"] * (not found.keeps)
        missed += [f"{100 * best.int8:.0f} % in INT8"] * (best.int8 < LEAST_INT8)
        missed += [f"{seconds:.0f} s"] * (seconds > BUDGET)
        verdict = f"MISSED: {', '.join(missed)}" if missed else "ok"
        share = f"{100 * best.int8:.1f} %"
        tried = len(found.outcomes)
        yield [name, found.fp32, MAX_DROP[task], best.lost, share, tried, seconds, best.said, verdict]


if __name__ == "__main__":
    if CORPUS:
        table("onnxq tune on OpenVINO", COLUMNS, searches(sys.argv[1:] or MODELS))
    else:
        print(MISSING)
