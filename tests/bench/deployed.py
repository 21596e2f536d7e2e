"""What deployment costs beyond the simulation: `onnxq evaluate` of the FP32 model, of its graph for OpenVINO computed
node by node, and of the OpenVINO engine, at batch 1 and 64.

    python tests/bench/deployed.py [MODEL ...]

The engine may lose 0.2 points more than the graph. Where it loses more, `onnxq compare` names the first layer at which
it leaves its graph. One image of N is 100 / N points.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from corpus import CLASSIFIERS, CORPUS, MISSING, SAMPLES, TASKS, feeds, labelled, path_of
from onnxq import Options, evaluate, quantize
from onnxq.checking.parity import ALIKE
from onnxq.comparing.compare import compare
from onnxq.comparing.rows import Gates
from onnxq.inputs import Array, input_specs
from onnxq.model import ModelLike, load_model
from table import table

BATCHES = (1, 64)
MOST_POINTS = 0.2
COLUMNS = ("model", "images", "batch", "FP32 %", "graph lost", "engine lost", "difference", "verdict")


@dataclass(frozen=True)
class Deployed:
    """Top-1 of a graph and of its engine on so many ``images``, in percent."""

    images: int
    fp32: float
    graph: float
    engine: float

    @property
    def difference(self) -> float:
        """Points that the engine loses beyond the graph."""
        return round(self.graph - self.engine, 9)  # of shares of images: what is behind is of binary numbers

    @property
    def missed(self) -> bool:
        return self.difference > MOST_POINTS


def rows(names: Sequence[str]) -> Iterator[list[object]]:
    for name in names:
        with feeds(TASKS[name], SAMPLES[TASKS[name]]) as data:
            graph = quantize(path_of(name), data, backend="openvino", options=Options(build=False)).quantized
        (spec,) = input_specs(load_model(path_of(name)))
        inputs, labels = labelled(TASKS[name])
        test: dict[str, Array] = {spec.name: inputs, "labels": labels}
        for batch in BATCHES:
            found = measured(path_of(name), graph, test, batch)
            lost = (found.fp32 - found.graph, found.fp32 - found.engine)
            said = f"MISSED: {leaving(graph, test, batch)}" if found.missed else "ok"
            yield [name, found.images, batch, found.fp32, *lost, found.difference, said]


def measured(source: ModelLike, graph: ModelLike, test: Mapping[str, Array], batch: int) -> Deployed:
    engines = ("simulation", "openvino")
    found = evaluate(graph, test, metric="top1", engines=engines, reference=source, batch=batch)
    if found.problems:
        sys.exit("\n".join(found.problems))
    fp32, simulated, deployed = (float(row.values[0].value or 0) for row in found.rows)
    return Deployed(found.rows[0].samples, fp32, simulated, deployed)


def leaving(graph: ModelLike, test: Mapping[str, Array], batch: int) -> str:
    """The layer at which the engine leaves its graph, or how near the two stay."""
    inputs = {name: array for name, array in test.items() if name != "labels"}
    found = compare(graph, graph, data=inputs, engine="openvino", batch=batch, gates=Gates(min_sqnr=ALIKE))
    if (first := found.difference) is not None:
        return f"from {first.node} ({first.operator}) on, {first.sqnr_db:.1f} dB"
    return f"no layer, {min(row.sqnr_db or 0 for row in found.outputs.rows):.1f} dB from its graph"


if __name__ == "__main__":
    if CORPUS:
        table("Top-1 lost in the Q/DQ graph and on the OpenVINO engine", COLUMNS, rows(sys.argv[1:] or CLASSIFIERS))
    else:
        print(MISSING)
