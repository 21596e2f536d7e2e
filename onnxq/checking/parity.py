"""Does an engine answer what its graph says? Its outputs beside the simulation's and the float model's.

Engines keep more precision between fused operators than the graph, computed node by node: 29 to 43 dB between the two
are normal, and the engine then is as near to the float model as the simulation is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxq.answers import Answers, Likeness, compare
from onnxq.inputs import Array
from onnxq.lint.finding import Finding

UNLIKE = 15.0  # dB against the simulation: below, and no better against float than that, is another function
LOST = 4.0  # dB against float that the engine may lose over its simulation
ALIKE = 29.0  # dB against the simulation from which on a loss is rounding
NOISE = 1.0  # dB
SLOWER = 0.9  # times as fast as the float model: below, it is told
MEASURABLE = 1e-3  # seconds a run must take for that


@dataclass(frozen=True)
class Output:
    """One output: signal to error in dB of engine against simulation, and of both against the float model."""

    name: str
    engine_graph: float
    graph_float: float | None
    engine_float: float | None

    @property
    def wrong(self) -> bool:
        """Whether the engine computes something else than its graph says."""
        if math.isnan(self.engine_graph):
            return True
        if self.graph_float is None or self.engine_float is None:
            return self.engine_graph < UNLIKE
        lost = self.graph_float - self.engine_float
        return (self.engine_graph < UNLIKE and lost > NOISE) or (self.engine_graph < ALIKE and lost > LOST)


@dataclass(frozen=True)
class Parity:
    """At one batch size: seconds per run of the float model and of this one (None if not known), and each output.

    ``right`` of ``batch`` samples are alike on engine and simulation.
    """

    batch: int
    float_seconds: float | None
    seconds: float | None
    outputs: tuple[Output, ...]
    right: int
    findings: tuple[Finding, ...]

    @property
    def speedup(self) -> float | None:
        return self.float_seconds / self.seconds if self.float_seconds and self.seconds else None


def parity(
    title: str,
    feeds: Mapping[str, Array],
    reference: Mapping[str, Array] | None,
    graph: Mapping[str, Array],
    engine: Mapping[str, Array],
    times: tuple[float, float] | None,
) -> Parity:
    """Compare one batch of outputs: of the float model (or None), of the simulation and of the engine."""
    batch = next((len(array) for array in feeds.values() if array.ndim), 1)
    sides = {
        "engine_graph": _sqnr(graph, engine),
        "graph_float": _sqnr(reference, graph) if reference is not None else {},
        "engine_float": _sqnr(reference, engine) if reference is not None else {},
    }
    outputs = tuple(
        Output(name, value, sides["graph_float"].get(name), sides["engine_float"].get(name))
        for name, value in sides["engine_graph"].items()
    )
    right = min((_samples_alike(graph[out.name], engine[out.name], batch) for out in outputs), default=batch)
    findings = [_finding(title, out, batch, right) for out in outputs if out.wrong]
    before, after = times or (None, None)
    if before is not None and after is not None and before >= MEASURABLE and before < SLOWER * after:
        findings.append(_slow(title, batch, before, after))
    return Parity(batch, before, after, outputs, right, tuple(findings))


def _sqnr(reference: Mapping[str, Array], other: Mapping[str, Array]) -> dict[str, float]:
    """Signal to error in dB by output; NaN where only ``other`` is not finite."""
    finite = {name: array for name, array in other.items() if name in reference and np.isfinite(array).all()}
    pair = [Answers({n: np.atleast_1d(np.asarray(side[n])) for n in finite}, None, 1) for side in (reference, finite)]
    found: dict[str, float] = {like.output: like.sqnr_db for like in _compared(*pair)}
    return found | dict.fromkeys(other.keys() & reference.keys() - finite.keys(), math.nan)


def _compared(reference: Answers, other: Answers) -> tuple[Likeness, ...]:
    return compare(reference, other) if other.outputs else ()


def _samples_alike(graph: Array, engine: Array, batch: int) -> int:
    """How many samples of a batch differ by no more than ``UNLIKE`` allows."""
    if graph.shape[:1] != (batch,) or graph.shape != engine.shape:
        return batch
    real, made = (array.reshape(batch, -1).astype(np.float64) for array in (graph, engine))
    with np.errstate(invalid="ignore", over="ignore"):
        noise, signal = np.square(made - real).sum(1), np.square(real).sum(1)
    return int(np.sum(noise <= signal * 10 ** (-UNLIKE / 10)))


def _finding(title: str, out: Output, batch: int, right: int) -> Finding:
    against = (
        ""
        if out.engine_float is None
        else (f"; {out.engine_float:.1f} dB against the float model, where the graph has {out.graph_float:.1f} dB")
    )
    return Finding(
        "outputs",
        out.name,
        "wrong",
        f"At batch {batch} {title}'s output is {out.engine_graph:.1f} dB from that of the graph{against}. "
        f"{right} of {batch} samples are right.",
        "Do not ship this graph for this engine. Mend the findings below; if there are none, quantize again with "
        "`onnxq quantize`, and compare at the batch sizes that will run.",
    )


def _slow(title: str, batch: int, before: float, after: float) -> Finding:
    return Finding(
        "time",
        f"batch {batch}",
        "slow",
        f"{title} runs it {before / after:.2f} times as fast as the float model ({1e3 * after:.3g} ms against "
        f"{1e3 * before:.3g} ms), whatever its kernels are called.",
        "Mend what else is found; if there is nothing, quantize for this engine with `onnxq quantize`.",
    )
