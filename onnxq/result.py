"""What ``quantize`` gives back: a graph per backend and every fact about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from onnxq import outside
from onnxq.answers import Likeness
from onnxq.build import Built
from onnxq.delivery import Delivery
from onnxq.errors import OutputError
from onnxq.files import write_files
from onnxq.ledger import Ledger
from onnxq.model import model_bytes, save_model
from onnxq.outside import total_bytes
from onnxq.places import beside, places
from onnxq.plan import Plan, Weight
from onnxq.portrait import Portrait
from onnxq.ranges.range_file import write_ranges
from onnxq.scheme import QParams, Range
from onnxq.solving.solved_layer import SolvedLayer
from onnxq.two_files import data_file
from onnxq.variants import Ablation
from onnxq.workspace import RoundedWeight


@dataclass(frozen=True)
class Scores:
    """The metric of the FP32 model, the Q/DQ graph and the engine; None for an engine that did not run."""

    metric: str
    unit: str
    samples: int
    fp32: float
    graph: float
    engine: float | None


@dataclass(frozen=True)
class Judged:
    """Outputs against FP32, over ``samples`` samples, of the Q/DQ graph and of the engine (empty if it did not run).

    Where a quantized model was given: against that one too.
    """

    samples: int
    graph: tuple[Likeness, ...]
    engine: tuple[Likeness, ...]
    scores: Scores | None
    given_graph: tuple[Likeness, ...] = ()
    given_engine: tuple[Likeness, ...] = ()


@dataclass(frozen=True)
class Kept:
    """How many grids of activations and integers of weights are exactly those of the quantized model given."""

    activations: int
    of_activations: int
    weights: int
    of_weights: int


@dataclass(frozen=True)
class BackendResult:
    """One backend's graph and what is known of it. ``problem`` says why the engine refused it, if it did;
    ``simulated``: there is no engine to build; ``delivery``: what the target's tools take, if not the graph;
    ``stand_in``: what was judged in the graph's place, where onnxruntime cannot run it;
    ``ranges``: of the model's own tensors, where that was asked for; ``seconds``: of the passes after calibration;
    ``solved``: how the integers of weights were chosen, where they were;
    ``portrait``: what a report draws, where that was asked for."""

    backend: str
    title: str
    model: onnx.ModelProto
    plan: Plan
    ledger: Ledger
    activations: Mapping[str, QParams]
    weights: Mapping[Weight, RoundedWeight]
    size_before: int
    size_after: int
    built: Built | None = None
    judged: Judged | None = None
    problem: str | None = None
    simulated: bool = False
    delivery: Delivery | None = None
    stand_in: onnx.ModelProto | None = None
    kept: Kept | None = None
    ranges: Mapping[str, Range] | None = None
    seconds: float = 0.0
    solved: Mapping[Weight, SolvedLayer] = field(default_factory=dict)
    portrait: Portrait | None = None

    @property
    def runs(self) -> onnx.ModelProto:
        """The graph as onnxruntime can run it."""
        return self.stand_in or self.model

    def files(self, path: Path) -> tuple[Path, ...]:
        """What ``save`` writes."""
        data = (data_file(path),) if self.delivery is None and total_bytes(self.model) > outside.LIMIT else ()
        return (path, *data, *beside(path, self.delivery.suffix if self.delivery is not None else None))

    def save(self, path: Path) -> None:
        """Write the graph, or with a delivery all that ``beside`` names; all or nothing. Raises OutputError."""
        if self.delivery is None:
            save_model(self.model, path)
            return
        _, side, simulation = self.files(path)
        write_files(
            {
                side: self.delivery.text.encode(),
                simulation: model_bytes(self.model, simulation),
                path: model_bytes(self.delivery.model, path),
            }
        )

    def save_ranges(self, path: Path) -> None:
        """Write ``ranges``: ``.cache`` as TensorRT has them, ``.json`` as onnxruntime has. Raises OutputError."""
        if self.ranges is None:
            raise OutputError(f"{path}: no ranges were kept. Quantize with Options(export_ranges=True).")
        write_ranges(path, self.ranges)


@dataclass(frozen=True)
class Result:
    """What was asked, what came of it per backend, and the seconds every stage took.

    ``smoke_test``: the samples were random numbers, so accuracy means nothing; ``task``: what was done with them;
    ``ablation``: what each pass brought, where that was asked for.
    """

    model: str
    data: str
    recipe: list[dict[str, dict[str, object]]]
    backends: Mapping[str, BackendResult]
    seconds: Mapping[str, float]
    smoke_test: bool = False
    task: str = "calibrated on"
    ablation: Ablation | None = None

    def __getitem__(self, backend: str) -> BackendResult:
        return self.backends[backend]

    @property
    def quantized(self) -> onnx.ModelProto:
        """The graph, where there is one backend. Raises KeyError where there are several."""
        if len(self.backends) != 1:
            raise KeyError(f"there are graphs for {', '.join(self.backends)}; take result[name].model")
        return next(iter(self.backends.values())).model

    def save(self, out: str | Path) -> dict[str, Path]:
        """Write every graph, and say where: see ``places``. Raises OutputError."""
        found = places(out, Path(self.model).stem or "model", tuple(self.backends))
        for name, path in found.items():
            self.backends[name].save(path)
        return found
