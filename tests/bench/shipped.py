"""The models that ship with onnxq: INT8 layers, and the card's metric in FP32, of the graph and on the engine.

python tests/bench/shipped.py
"""

import tempfile
from collections.abc import Iterator

from command import BACKENDS, quantize
from onnxq.models.card import shipped_cards
from table import table

COLUMNS = ("model", "backend", "INT8 layers", "FP32 %", "graph %", "engine %")


def scores() -> Iterator[list[object]]:
    for card in shipped_cards():
        with tempfile.TemporaryDirectory() as folder:
            found = quantize(card, "--out", f"{folder}/", *(f"--backend={name}" for name in BACKENDS))
        for backend, entry in found.items():
            judged, built = entry["accuracy"]["scores"], entry["engine"]
            integers = f"{built['int8_nodes']}/{built['nodes']}"
            yield [card, backend, integers, judged["fp32"], judged["graph"], judged["engine"] or "not run"]


if __name__ == "__main__":
    table("Shipped models", COLUMNS, scores())
