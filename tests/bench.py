"""What onnxq reaches, as ratios measured in one run.

    make bench                          on the models that ship with onnxq
    make bench ONNXQ_CORPUS=FOLDER      and on a corpus of real models

Prints time and peak memory of a whole `onnxq quantize` beside plain FP32 inference of the same samples by
onnxruntime, and the accuracy of every backend's graph beside FP32.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CORPUS = os.environ.get("ONNXQ_CORPUS")
BACKENDS = ("onnxruntime", "openvino", "tensorrt")
TASKS = {
    "cifar10": ("resnet20", "mobilenetv2_cifar10", "vit_cifar10"),
    "kws": ("kws_dscnn",),
    "coco": ("yolox_nano",),
}
BASE = """
import json, resource, sys, time
import numpy as np
import onnxruntime as ort
floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
"""
PLAIN = """
data = np.load(sys.argv[2])
name = data.files[0]
images = data[name]
session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
def seconds(batch):
    start = time.perf_counter()
    for i in range(0, len(images), batch):
        session.run(None, {name: images[i : i + batch]})
    return time.perf_counter() - start
seconds(32)
print(json.dumps(min(seconds(batch) for batch in (1, 8, 32))))
"""
WHOLE = """
start = time.perf_counter()
import onnxq
result = onnxq.quantize(sys.argv[1], sys.argv[2], backend=sys.argv[3])
entry = next(iter(result.backends.values()))
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "stages": dict(result.seconds),
    "MB": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - floor) / 1024,
}))
"""


def python(code: str, *arguments: object) -> object:
    """What a fresh Python process prints as JSON: one process a measurement, so that peaks are its own."""
    done = subprocess.run(
        [sys.executable, "-c", BASE + code, *map(str, arguments)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def evaluate(*arguments: object) -> dict[str, float]:
    """The corpus's own judge."""
    command = [sys.executable, f"{CORPUS}/evaluate.py", *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}
    return found


def quantize(model: object, *options: object) -> dict[str, dict[str, dict[str, object]]]:
    """Facts of one run of the command."""
    with tempfile.TemporaryDirectory() as folder:
        facts = Path(folder) / "facts.json"
        command = [sys.executable, "-m", "onnxq", "quantize", model, "--quiet", "--json", facts, *options]
        subprocess.run([str(part) for part in command], check=True)
        found: dict[str, dict[str, dict[str, object]]] = json.loads(facts.read_text())["backends"]
    return found


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    print(f"\n{title}\n  " + "".join(f"{column:>16}" for column in columns))
    for row in rows:
        cells = (f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row)
        print("  " + "".join(f"{cell:>16}" for cell in cells), flush=True)


def shipped() -> Iterator[list[object]]:
    """Accuracy of the models that ship."""
    from onnxq.models.card import shipped_cards

    for card in shipped_cards():
        with tempfile.TemporaryDirectory() as folder:
            found = quantize(card, "--out", f"{folder}/", *(f"--backend={name}" for name in BACKENDS))
        for backend, entry in found.items():
            scores, built = entry["accuracy"]["scores"], entry["engine"]
            assert isinstance(scores, dict) and isinstance(built, dict)
            integers = f"{built['int8_nodes']}/{built['nodes']}"
            yield [card, backend, integers, scores["fp32"], scores["graph"], scores["engine"] or "not run"]


@contextmanager
def feeds(task: str, n: int) -> Iterator[Path]:
    """Calibration samples of the corpus, as a user would have them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "feeds.npz"
        evaluate("--calibration", task, path, "--n", n)
        yield path


def speed() -> Iterator[list[object]]:
    """Seconds of the whole run against 3 x plain inference + 3 s, and peak memory above importing onnxruntime."""
    model = f"{CORPUS}/models/resnet20.onnx"
    with feeds("cifar10", 512) as data:
        plain = python(PLAIN, model, data)
        assert isinstance(plain, float)
        for backend in BACKENDS:
            whole = python(WHOLE, model, data, backend)
            assert isinstance(whole, dict)
            yield [backend, 512, plain, whole["seconds"], 3 * plain + 3, whole["MB"]]
        with many(data, 5000) as more:
            whole = python(WHOLE, model, more, "onnxruntime")
            assert isinstance(whole, dict)
            yield ["onnxruntime", 5000, 10 * plain, whole["seconds"], "", whole["MB"]]


@contextmanager
def many(data: Path, n: int) -> Iterator[Path]:
    """The same samples again and again, ``n`` in all."""
    import numpy as np

    held = np.load(data)
    name = held.files[0]
    arrays: dict[str, Any] = {name: np.resize(held[name], (n, *held[name].shape[1:]))}
    np.savez(data.parent / "many.npz", **arrays)
    yield data.parent / "many.npz"


def accuracy() -> Iterator[list[object]]:
    """Every corpus model on every backend, judged by the corpus; the OpenVINO engine too."""
    for task, models in TASKS.items():
        with feeds(task, 64 if task == "coco" else 512) as data, tempfile.TemporaryDirectory() as folder:
            for name in models:
                model = f"{CORPUS}/models/{name}.onnx"
                found = quantize(model, "--data", data, "--out", f"{folder}/", *(f"--backend={b}" for b in BACKENDS))
                for backend, entry in found.items():
                    engine = ["--engine", "openvino"] if backend == "openvino" else []
                    for extra in ([], engine) if engine else ([],):
                        judged = evaluate(entry["file"], "--task", task, "--reference", model, *extra)
                        score = judged["ap" if task == "coco" else "top1"]
                        built = entry["engine"]
                        integers = f"{built['int8_nodes']}/{built['nodes']}"
                        where = "engine" if extra else "graph"
                        yield [name, backend, where, integers, judged["fp32"], score, judged["sqnr_db"]]


def main() -> None:
    headings = ("model", "backend", "INT8 layers", "FP32 %", "graph %", "engine %")
    table("Shipped models", headings, shipped())
    if not CORPUS:
        print("\nONNXQ_CORPUS is not set: speed, memory and accuracy on real models were not measured.")
        return
    table(
        "ResNet-20, whole run beside plain FP32 inference (seconds) and peak MB above importing onnxruntime",
        ("backend", "images", "plain FP32", "whole run", "allowed", "peak MB"),
        speed(),
    )
    judged = ("model", "backend", "judged", "INT8 layers", "FP32 %", "quantized %", "SQNR dB")
    table("Accuracy on the corpus", judged, accuracy())


if __name__ == "__main__":
    main()
