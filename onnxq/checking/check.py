"""``check()``: what an engine makes of a quantized model, whoever made it.

    onnxq.check("model.onnx", "openvino", batches=(1, 64)).problems

The graph is linted, the real engine built and read back, timed beside the float model, and its outputs compared with
those of the same graph computed node by node, at every batch size asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx

from onnxq.backends import backend_of, require
from onnxq.backends.backend import Backend
from onnxq.backends.engine import Engine, Reading
from onnxq.backends.timing import side_by_side
from onnxq.build import fixed_shapes
from onnxq.checking.parity import Parity, parity
from onnxq.cost import macs
from onnxq.errors import DataError, EngineError, ModelError, RecipeError
from onnxq.execute import Session
from onnxq.inputs import Array, InputSpec, batch_axis, input_specs
from onnxq.lifting.lift import lift
from onnxq.lint import lint
from onnxq.lint.finding import Finding
from onnxq.lint.view import View, bare_layers
from onnxq.model import ModelLike, is_quantized, load_model, read_model
from onnxq.preprocess import Preprocessing
from onnxq.samples import Data, open_samples
from onnxq.workspace import Progress, silent

LIFTED = "the model with its Q/DQ taken out"


@dataclass(frozen=True)
class Checked:
    """What was found on one backend.

    ``reading`` is None, and ``problem`` says why, where the engine could not be built or run. ``macs`` are
    multiply-accumulates of a sample by node. ``float_model`` says what was compared with, or why nothing was.
    ``bare``: layers that read nothing quantized, and so cannot but run in float. ``parities``: times and outputs, one
    for each batch size.
    """

    backend: str
    title: str
    quantized: bool
    data: str
    float_model: str
    findings: tuple[Finding, ...]
    reading: Reading | None
    macs: Mapping[str, int]
    bare: frozenset[str]
    parities: tuple[Parity, ...]
    problem: str | None

    @property
    def int8_macs(self) -> float | None:
        """The share of multiply-accumulates in INT8 kernels; None where shapes or the engine do not tell."""
        return None if self.reading is None else self.reading.int8_share(self.macs)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the model must not be shipped for this engine: refusals and wrong answers, in words."""
        said = [] if self.problem is None else [self.problem]
        bad = [e for e in self.findings if e.severity in ("rejected", "wrong")]
        return (*said, *dict.fromkeys(f"{e.rule}: {e.why}" for e in bad))


def check(
    model: ModelLike,
    backend: str,
    *,
    float_model: ModelLike | None = None,
    data: Data | None = None,
    batches: Sequence[int] = (1,),
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
    seconds: float = 0.3,
    progress: Progress = silent,
) -> Checked:
    """Check one model on one backend. Without ``data`` the inputs are random numbers, drawn from ``seed``.

    ``float_model`` is the FP32 model it was made from; without it, its Q/DQ are taken out. A model of fixed batch size
    is run at that, whatever ``batches`` says. Timing takes about ``seconds`` for each batch size.

    Raises ModelError, DataError, RecipeError or EngineMissing; what the engine refuses is in the result.
    """
    target = backend_of(backend)
    if target.simulated:
        raise RecipeError(f"{target.title} is simulated: onnxq has no engine of it, so there is nothing to check.")
    require(target)
    proto = read_model(model)
    inputs = input_specs(proto)
    fed = feeds_of(inputs, data, batches, preprocessing, seed)
    source, said = _float_twin(proto, float_model)
    found = Checked(
        target.name,
        target.title,
        is_quantized(proto),
        fed.description,
        said,
        lint(proto, target.lints),
        None,
        _work(source or proto, inputs, fed.feeds[0]),
        bare_layers(View.of(proto)),
        (),
        None,
    )
    if crash := next((entry for entry in found.findings if entry.crashes), None):
        return replace(found, problem=f"not built, since {target.title} would crash: {crash.rule} at {crash.node!r}")
    return _Bench(target, proto, source, inputs, seconds).judge(found, fed.feeds, progress)


@dataclass(frozen=True)
class Fed:
    """What the model is fed, a batch of each size, and in words where that is from."""

    description: str
    feeds: tuple[Mapping[str, Array], ...]


def feeds_of(
    inputs: tuple[InputSpec, ...],
    data: Data | None,
    batches: Sequence[int],
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
) -> Fed:
    """One batch of each size, of samples that all differ. Raises DataError where there are too few."""
    axis = batch_axis(inputs)
    sizes = [1] if not axis.common else [axis.fixed] if axis.fixed is not None else list(dict.fromkeys(batches))
    most = max(sizes, default=1)
    if min(sizes, default=0) < 1:
        raise DataError(f"batch sizes {list(batches)} were asked for (--batch, batches=); at least 1 is needed.")
    samples = open_samples(
        "random" if data is None else data, inputs, preprocessing=preprocessing, limit=most, seed=seed
    )
    feeds = []
    for size in sizes:
        part = next(iter(samples.batches(size)))
        if axis.common and axis.fixed is None and part.count < size:
            raise DataError(
                f"{samples.description}: --batch {size} wants {size} samples. "
                f"Give more, or ask for --batch {part.count}."
            )
        feeds.append(part.feeds)
    return Fed(samples.description, tuple(feeds))


def _float_twin(proto: onnx.ModelProto, given: ModelLike | None) -> tuple[onnx.ModelProto | None, str]:
    """The float model, and in words what it is."""
    if given is not None:
        return load_model(given), "the float model given"
    if not is_quantized(proto):
        return proto, "the model itself: it is not quantized"
    try:
        return lift(proto).model, LIFTED
    except ModelError as error:
        return None, f"none: {error}"


def _work(proto: onnx.ModelProto, inputs: tuple[InputSpec, ...], feeds: Mapping[str, Array]) -> dict[str, int]:
    """Multiply-accumulates of one sample by node."""
    common = batch_axis(inputs).common
    count = next((len(array) for array in feeds.values()), 1) if common else 1
    return {name: work // count for name, work in macs(proto, {n: a.shape for n, a in feeds.items()}).items()}


@dataclass(frozen=True)
class _Bench:
    """A model, its float twin and its simulation, on one engine."""

    backend: Backend
    model: onnx.ModelProto
    source: onnx.ModelProto | None
    inputs: tuple[InputSpec, ...]
    seconds: float

    def judge(self, found: Checked, feeds: Sequence[Mapping[str, Array]], progress: Progress) -> Checked:
        """The engine built for every batch, read back at the first."""
        simulation = Session(self.model, optimize=False)
        reference = Session(self.source, optimize=False) if self.source is not None else None
        stage = f"check {self.backend.title}"
        for done, feed in enumerate(feeds):
            progress(stage, done, len(feeds))
            try:
                engine = self._engine(self.model, feed)
                if found.reading is None:
                    found = replace(found, reading=engine.read_back())
                if found.reading is not None and not found.reading.executed:
                    break
                graph, real = simulation.run(feed), engine.run(feed)
            except EngineError as error:
                found = replace(found, problem=str(error))
                break
            times = self._times(engine, feed)
            ideal = reference.run(feed) if reference is not None else None
            entry = parity(self.backend.title, feed, ideal, graph, real, times)
            found = replace(found, parities=(*found.parities, entry))
        progress(stage, len(feeds), len(feeds))
        wrong = (finding for entry in found.parities for finding in entry.findings)
        return replace(found, findings=(*wrong, *found.findings))

    def _engine(self, model: onnx.ModelProto, feeds: Mapping[str, Array]) -> Engine:
        return self.backend.engine(model, fixed_shapes(self.backend, feeds, self.inputs))

    def _times(self, engine: Engine, feeds: Mapping[str, Array]) -> tuple[float, float] | None:
        """Seconds of the float model and of this one, run in turns; None where the float one cannot be built."""
        if self.source is None:
            return None
        try:
            return side_by_side(self._engine(self.source, feeds), engine, feeds, seconds=self.seconds)
        except EngineError:
            return None
