"""quantize(), from model to judged engine, on the models that ship and on small ones."""

import io
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from rich.console import Console

from onnxq import Options, Recipe, quantize
from onnxq.backends import BACKENDS, backend_of
from onnxq.backends.engine import Engine, Reading
from onnxq.errors import DataError, EngineError, RecipeError
from onnxq.metrics import Top1, TopK
from onnxq.model import load_model
from onnxq.models.card import load_card, shipped_cards
from onnxq.passes import CorrectBias, RoundWeights
from onnxq.recipe import load_recipe
from onnxq.report import summary
from onnxq.result import Result
from onnxq.testing import normal, parse, run

NO_BUILD = Options(build=False)
LOST = {"shapes_detector": 2.0}  # points of box AP; 90 images tell no less apart
CONVS = """g (float[N,3,8,8] x) => (float[N,M] y) {
    [c1] a = Conv<pads = [1,1,1,1]>(x, w1) [relu] b = Relu(a)
    [c2] c = Conv<strides = [2,2]>(b, w2) [pool] d = GlobalAveragePool(c) [flat] e = Flatten(d)
    [fc] y = Gemm<transB = 1>(e, w3, b3) }"""


def small(batch: str = "N") -> onnx.ModelProto:
    return parse(
        CONVS.replace("N", batch),
        w1=normal(6, 3, 3, 3),
        w2=normal(8, 6, 3, 3, seed=1),
        w3=normal(5, 8, seed=2),
        b3=normal(5, seed=3),
    )


IMAGES = normal(10, 3, 8, 8, seed=4)


def engines() -> tuple[str, ...]:
    """The backends whose engine is installed."""
    return tuple(name for name in BACKENDS if any(map(find_spec, backend_of(name).modules)))


@cache
def judged(card: str) -> Result:
    """A shipped model, quantized for every engine there is."""
    return quantize(load_card(card), backend=engines())


def need(backend: str) -> None:
    if backend not in engines():
        pytest.skip(f"{backend} is not installed")


def stored(model: onnx.ModelProto) -> bytes:
    return model.SerializeToString(deterministic=True)


def scale(result: Result, tensor: str) -> float:
    (entry,) = result.backends.values()
    return float(entry.activations[tensor].scale)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("card", shipped_cards())
def test_a_shipped_model_runs_in_integers(card: str, backend: str) -> None:
    need(backend)
    built = judged(card)[backend].built
    assert built is not None
    integer = {layer.node for layer in built.reading.layers if layer.precision == "int8"}
    assert built.int8_nodes == len(integer)
    nodes = load_model(load_card(card).model_path).graph.node
    assert {node.name for node in nodes if node.op_type in ("Conv", "Gemm")} <= integer
    assert built.int8_macs is not None
    assert built.int8_macs > 0.85
    if built.int8_nodes == built.nodes:
        assert built.int8_macs == 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("card", shipped_cards())
def test_a_shipped_model_keeps_its_accuracy(card: str, backend: str) -> None:
    need(backend)
    entry = judged(card)[backend]
    assert entry.judged is not None
    assert entry.built is not None
    scores = entry.judged.scores
    assert scores is not None
    assert scores.fp32 == pytest.approx(load_card(card).accuracy, abs=0.2)
    limit = LOST.get(card, 1.0)
    assert scores.graph >= scores.fp32 - limit
    assert entry.judged.graph[0].sqnr_db > 18
    assert (scores.engine is not None) == entry.built.reading.executed
    if scores.engine is not None:
        assert scores.engine >= scores.fp32 - limit


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("card", shipped_cards())
def test_the_engine_answers_as_the_graph_does(card: str, backend: str) -> None:
    need(backend)
    entry = judged(card)[backend]
    assert entry.judged is not None
    if not entry.judged.engine:
        pytest.skip(f"there is no device here for {entry.title}")
    for graph, engine in zip(entry.judged.graph, entry.judged.engine, strict=True):
        assert engine.output == graph.output
        assert engine.sqnr_db == pytest.approx(graph.sqnr_db, abs=1)


@pytest.mark.parametrize("card", shipped_cards())
def test_a_shipped_model_becomes_smaller(card: str) -> None:
    for entry in judged(card).backends.values():
        assert entry.size_after == entry.model.ByteSize() < 0.7 * entry.size_before
        onnx.checker.check_model(entry.model, full_check=True)


@pytest.mark.parametrize(
    ("card", "least"), [("digits_mobilenet", 0.3), ("shapes_detector", 3), ("digits_transformer", 0)]
)
def test_four_bits_a_weight_hurt_less_where_they_are_solved(card: str, least: float) -> None:
    found = []
    for solver in ("nearest", "coordinate_descent"):
        recipe = load_recipe("default").changed(RoundWeights, solver=solver)
        result = quantize(load_card(card), recipe=recipe, options=Options(weight_bits=4, per_tensor=True))
        found.append(result["onnxruntime"].judged)
    nearest, solved = found
    assert nearest is not None and nearest.scores is not None and solved is not None
    assert nearest.scores.graph <= nearest.scores.fp32 - least
    assert nearest.graph[0].sqnr_db < judged(card)["onnxruntime"].judged.graph[0].sqnr_db - 6  # type: ignore[union-attr]
    assert solved.graph[0].sqnr_db > nearest.graph[0].sqnr_db + 3


class Counted:
    """Feeds that count how often they were read to the end."""

    def __init__(self) -> None:
        self.whole = 0

    def __call__(self) -> Iterator[Mapping[str, NDArray[np.float32]]]:
        for image in (*IMAGES,) * 12:  # more than any pass but calibration looks at
            yield {"x": image[None]}
        self.whole += 1


def test_one_calibration_serves_every_backend() -> None:
    feeds = Counted()
    # Activations are balanced as suits all the grids of the backends asked for, so that pass has a say in it.
    steps = tuple(step for step in load_recipe("default").passes if step.name != "balance_activations")
    several = quantize(small(), feeds, backend=BACKENDS, recipe=Recipe(steps), options=NO_BUILD)
    assert feeds.whole == 1
    for name in BACKENDS:
        alone = quantize(small(), Counted(), backend=name, recipe=Recipe(steps), options=NO_BUILD)
        assert stored(alone[name].model) == stored(several[name].model)


def test_extremes_alone_are_one_calibration_too() -> None:
    feeds = Counted()
    quantize(small(), feeds, backend=BACKENDS, options=Options(build=False, calibrator="minmax"))
    assert feeds.whole == 1


def test_a_fixed_batch_is_filled_and_the_filling_is_not_counted() -> None:
    images = IMAGES.copy()
    images[-1] *= 9  # ten samples in batches of four: the last is repeated twice
    # Biases are corrected by whole batches, which differ, and so are weights that are solved.
    default = load_recipe("default").changed(RoundWeights, solver="nearest")
    recipe = Recipe(tuple(step for step in default.passes if not isinstance(step, CorrectBias)))
    options = Options(calibrator="percentile")
    fixed, free = (quantize(small(batch), images, recipe=recipe, options=options) for batch in ("4", "N"))
    for result in (fixed, free):
        (entry,) = result.backends.values()
        assert entry.judged is not None
        assert entry.judged.samples == 10
    assert scale(fixed, "x") == scale(free, "x")
    assert fixed["onnxruntime"].judged.graph[0].sqnr_db == pytest.approx(  # type: ignore[union-attr]
        free["onnxruntime"].judged.graph[0].sqnr_db,  # type: ignore[union-attr]
        abs=0.01,
    )
    with pytest.raises(Exception, match=r"x \[10, 3, 8, 8\]"):
        run(fixed.quantized, x=images)


def test_labels_travel_to_the_metric() -> None:
    model = small()
    answers = run(model, x=IMAGES)["y"].argmax(1)
    labels = np.where(np.arange(10) < 7, answers, (answers + 1) % 5)
    options = Options(samples=4)
    result = quantize(model, IMAGES, test={"x": IMAGES, "labels": labels}, metric=Top1(), options=options)
    scores = result["onnxruntime"].judged.scores  # type: ignore[union-attr]
    assert scores is not None
    assert (scores.metric, scores.samples, scores.fp32) == ("top1", 10, 70)
    made = run(result.quantized, x=IMAGES)["y"].argmax(1)
    assert scores.graph == 100 * np.mean(made == labels)


def test_without_labels_or_a_metric_there_is_no_score() -> None:
    labelled: dict[str, NDArray[np.generic]] = {"x": IMAGES, "labels": np.zeros(10, np.int64)}
    for result in (quantize(small(), IMAGES, metric=Top1()), quantize(small(), labelled)):
        entry = result["onnxruntime"]
        assert entry.judged is not None
        assert entry.judged.scores is None
        assert entry.judged.samples == 10


@pytest.mark.parametrize("when", ["built", "run"])
def test_an_engine_that_refuses_is_a_problem_and_no_crash(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    class Refuses:
        def read_back(self) -> Reading:
            return Reading("an engine", (), 0)

        def run(self, feeds: Mapping[str, object]) -> dict[str, NDArray[np.generic]]:
            raise EngineError("an engine: no memory")

    def build(*_: object) -> Engine:
        if when == "built":
            raise EngineError("an engine: no memory")
        return Refuses()

    need("openvino")
    backend = backend_of("openvino")
    monkeypatch.setattr("onnxq.backends.openvino.BACKEND", replace(backend, build=build))
    monkeypatch.setattr("onnxq.build.side_by_side", lambda *_: (1.0, 1.0))
    result = quantize(small(), IMAGES, backend=["openvino", "onnxruntime"])
    refused, fine = result["openvino"], result["onnxruntime"]
    assert refused.problem == "an engine: no memory"
    assert refused.judged is not None
    assert refused.judged.graph[0].sqnr_db > 20
    assert refused.judged.engine == ()
    assert fine.problem is None
    assert fine.judged is not None
    assert fine.judged.engine[0].sqnr_db > 20


MINE = '''
from dataclasses import dataclass, replace
from typing import ClassVar
import numpy as np

@dataclass(frozen=True)
class Prune:
    """Weights below a limit become zero."""
    limit: int = 0
    name: ClassVar[str] = "prune"

    def __call__(self, workspace):
        for weight, rounded in workspace.weights.items():
            few = np.where(np.abs(rounded.integers.astype(int)) < self.limit, 0, rounded.integers)
            workspace.weights[weight] = replace(rounded, integers=few.astype(rounded.integers.dtype))
        return True

@dataclass(frozen=True)
class Break:
    name: ClassVar[str] = "break"
    tolerance: ClassVar[float] = 1e-3

    def __call__(self, workspace):
        weight = next(t for t in workspace.graph.tensors().values() if t.name == "w3")
        weight.values = weight.values * 2
        return True
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's own passes."""
    (tmp_path / "my_passes.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_passes", raising=False)
    return "my_passes"


def test_a_pass_of_the_user_s_own(mine: str) -> None:
    steps = ["plan", "calibrate", "round_weights", {f"{mine}:Prune": {"limit": 40}}, "insert_qdq"]
    result = quantize(small(), IMAGES, recipe={"passes": steps}, options=NO_BUILD)
    integers = onnx.numpy_helper.to_array(
        next(tensor for tensor in result.quantized.graph.initializer if tensor.name == "w1/quantized")
    )
    assert np.abs(integers.astype(int))[integers != 0].min() >= 40
    assert (integers == 0).mean() > 0.2
    assert list(result.recipe[3].values()) == [{"limit": 40}]
    again = quantize(small(), IMAGES, recipe={"passes": result.recipe}, options=NO_BUILD)
    assert stored(again.quantized) == stored(result.quantized)
    with pytest.raises(RecipeError, match=r"unknown field 'limits'\. Did you mean 'limit'"):
        quantize(small(), IMAGES, recipe={"passes": [{f"{mine}:Prune": {"limits": 40}}]})


def test_a_rewrite_that_changes_the_function_is_undone(mine: str) -> None:
    rest = ["plan", "calibrate", "round_weights", "insert_qdq"]
    result = quantize(small(), IMAGES, recipe={"passes": [f"{mine}:Break", *rest]}, options=NO_BUILD)
    (declined,) = result["onnxruntime"].ledger.of("declined")
    assert declined.stage == "break"
    assert declined.reason.startswith("undone: output 'y' differs by")
    assert "1e-03 is allowed" in declined.reason
    plain = quantize(small(), IMAGES, recipe={"passes": rest}, options=NO_BUILD)
    assert stored(result.quantized) == stored(plain.quantized)


def test_a_card_brings_everything_and_what_is_given_wins() -> None:
    card = load_card("digits_mobilenet")
    few = {"image": np.zeros((3, 1, 16, 16), np.float32) + np.arange(3, dtype=np.float32)[:, None, None, None]}
    result = quantize(card, few, test={**few, "labels": np.array([9, 9, 9])}, metric=TopK(2))
    assert result.data == "the arrays, 3 samples"
    scores = result["onnxruntime"].judged.scores  # type: ignore[union-attr]
    assert scores is not None
    assert (scores.metric, scores.samples) == ("top2", 3)


def test_data_may_be_a_bare_array_also_of_the_card_s_test() -> None:
    card = load_card("digits_mobilenet")
    images = normal(6, 1, 16, 16)
    result = quantize(card, images, test=images)
    assert result.smoke_test is False
    assert result["onnxruntime"].judged.samples == 6  # type: ignore[union-attr]


def test_random_data_is_a_smoke_test() -> None:
    result = quantize(small(), "random", options=NO_BUILD)
    assert result.smoke_test is True
    assert "RANDOM" in result.data


def test_without_data_there_is_an_error_in_both_spellings() -> None:
    with pytest.raises(DataError, match=r"--data FILE.*samples="):
        quantize(small())


def test_a_model_that_is_quantized_at_its_input_only() -> None:
    model = parse("g (float[N,3,8,8] x) => (float[N,4,8,8] y) { [c] y = Conv(x, w) }", w=normal(4, 3, 1, 1))
    for backend in BACKENDS:
        result = quantize(model, IMAGES, backend=backend, options=NO_BUILD)
        assert any(tensor.startswith("x") for tensor in result[backend].activations)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_bias_beside_one_scale(backend: str) -> None:
    result = quantize(small(), IMAGES, backend=backend, options=Options(build=False, per_tensor=True))
    made, wanted = (run(model, x=IMAGES)["y"].astype(np.float64) for model in (result.quantized, small()))
    assert np.abs(made - wanted).max() < 0.05 * np.abs(wanted).max()


def test_several_results_have_no_single_graph() -> None:
    result = quantize(small(), IMAGES, backend=["onnxruntime", "tensorrt"], options=NO_BUILD)
    with pytest.raises(KeyError, match="graphs for onnxruntime, tensorrt"):
        _ = result.quantized


def test_saving_names_a_file_for_each_backend(tmp_path: Path) -> None:
    result = quantize(small(), IMAGES, backend=["onnxruntime", "tensorrt"], options=NO_BUILD)
    files = result.save(tmp_path / "graphs")
    assert set(files) == {"onnxruntime", "tensorrt"}
    assert all(path.parent == tmp_path / "graphs" and onnx.load(path).graph.node for path in files.values())


def test_time_is_told_by_stage() -> None:
    result = quantize(small(), IMAGES)
    assert set(result.seconds) == {"prepare", "calibrate", "refine", "build", "judge"}
    assert set(quantize(small(), IMAGES, options=NO_BUILD).seconds) == {"prepare", "calibrate", "refine"}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
def test_weights_alone_need_no_samples(backend: str) -> None:
    w = normal(64, 96, scale=0.1)
    model = parse("g (float[N,64] x) => (float[N,96] y) { [one] y = MatMul(x, w) }", w=w)
    result = quantize(model, backend=backend, options=Options(weights_only=True))
    entry = result[backend]
    assert entry.built is not None
    assert [layer.precision for layer in entry.built.reading.layers] == ["int4 weights"]
    assert entry.size_after < 0.3 * entry.size_before
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(summary(result, {}))
    assert "1 of 1 with int4 weights" in console.export_text()
    wide = quantize(model, backend=backend, options=Options(weights_only=True, weight_bits=8))[backend]
    assert wide.built is not None
    assert [layer.precision for layer in wide.built.reading.layers] == ["int8 weights"]
    assert wide.judged is not None and wide.judged.graph[0].sqnr_db > 38
    with pytest.raises(DataError, match="--weights-only"):
        quantize(model, backend=backend)
