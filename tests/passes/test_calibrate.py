"""Grids are chosen from one pass over the samples."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from onnxq.calibrators import Lp
from onnxq.errors import DataError, RecipeError
from onnxq.passes import Calibrate, PlanIntegers
from onnxq.scheme import Scheme, same_grid
from onnxq.testing import changes_nothing, normal, parse, workspace
from onnxq.workspace import Workspace

MODEL = parse(
    """g (float[N,4] x) => (float[N,4] y) {
    [one] a = MatMul(x, w) [act] b = Relu(a) [two] c = MatMul(b, w) [exp] y = Exp(c) }""",
    w=normal(4, 4),
)
X = normal(8, 4, seed=1)


def planned(backend: str = "onnxruntime", bias: float = 0.0) -> Workspace:
    model = MODEL
    if bias:
        model = parse(
            "g (float[N,4] x) => (float[N,4] y) { [one] a = Gemm(x, w, k) b = Relu(a) [two] c = Gemm(b, w) "
            "[three] d = Gemm(x, w) y = Add(c, d) }",
            w=normal(4, 4),
            k=np.full(4, bias, np.float32),
        )
    space = workspace(model, {"x": X}, backend)
    PlanIntegers()(space)
    return space


@pytest.mark.parametrize(
    ("backend", "schemes"),
    [
        ("onnxruntime", {"x": Scheme(False, False), "b": Scheme(False, False)}),
        ("openvino", {"x": Scheme(True, True), "b": Scheme(False, True)}),
        ("tensorrt", {"x": Scheme(True, True), "b": Scheme(True, True)}),
    ],
)
def test_every_activation_gets_the_backend_s_grid(backend: str, schemes: dict[str, Scheme]) -> None:
    space = planned(backend)
    assert Calibrate("minmax")(space)
    assert {name: grid.scheme for name, grid in space.activations.items()} == schemes
    b = np.maximum(X @ normal(4, 4), 0)
    assert space.activations["b"].scale == pytest.approx(b.max() / schemes["b"].highest, rel=1e-5)
    assert space.statistics["x"].low == X.min()
    assert not space.ledger.entries


def test_the_second_run_reads_no_samples_and_another_calibrator_changes_grids() -> None:
    space = planned()
    assert Calibrate("mse")(space)
    known = dict(space.statistics)
    assert changes_nothing(space, Calibrate("mse"))
    assert Calibrate("percentile", 90.0)(space)
    assert space.statistics == known


def test_what_passes_integers_on_to_an_activation_function_keeps_their_grid() -> None:
    text = """a = Conv(x, w) b = MaxPool<kernel_shape=[2,2]>(a) s = HardSigmoid<alpha=0.16666667, beta=0.5>(b)
        c = Mul(b, s) y = Conv(c, w)"""
    model = parse(f"g (float[N,4,6,6] x) => (float[A,B,C,D] y) {{ {text} }}", w=normal(4, 4, 1, 1, scale=3))
    space = workspace(model, {"x": normal(8, 4, 6, 6)})
    PlanIntegers()(space)
    entries = space.plan.activations
    assert (entries["b"].grid, entries["b"].through, entries["a"].through) == ("a", "hard_swish", None)
    Calibrate()(space)
    assert same_grid(space.activations["a"], space.activations["b"])


def test_what_an_activation_function_squashes_is_clipped() -> None:
    text = "a = Conv(x, w) s = Sigmoid(a) c = Mul(a, s) y = Conv(c, w)"
    model = parse(f"g (float[N,4,6,6] x) => (float[A,B,C,D] y) {{ {text} }}", w=normal(4, 4, 1, 1, scale=8))
    space = workspace(model, {"x": normal(8, 4, 6, 6)})
    PlanIntegers()(space)
    Calibrate()(space)
    grid, lowest = space.activations["a"], space.statistics["a"].low
    assert -int(grid.zero_point) * float(grid.scale) > lowest / 2
    assert "a" in {entry.subject for entry in space.ledger.of("clipped")}


def test_what_is_clipped_is_told() -> None:
    space = planned()
    Calibrate("percentile", 90.0)(space)
    clipped = {entry.subject: entry.reason for entry in space.ledger.of("clipped")}
    assert clipped.keys() == {"x", "b"}
    assert "% of values lie outside" in clipped["x"] and f"[{X.min():.4g}, {X.max():.4g}]" in clipped["x"]


def test_a_tensor_that_is_always_zero_stays_float_and_so_does_its_reader() -> None:
    space = planned(bias=-1e3)
    Calibrate()(space)
    assert set(space.activations) == {"x"}
    assert "b" not in space.plan.activations and "two" not in space.plan.nodes
    assert space.plan.floats["two"] == "its activation 'b' is zero on every sample, so it has no range"
    assert space.plan.nodes == {"one", "three"}
    assert [entry.subject for entry in space.ledger.of("warning")] == ["b"]


def test_a_tensor_that_is_infinite_stays_float() -> None:
    model = parse("g (float[N,4] x) => (float[N,4] y) { a = MatMul(x, w) b = Mul(a, big) [two] y = MatMul(b, w) }",
                  w=normal(4, 4), big=np.array(3e38, np.float32))  # fmt: skip
    space = workspace(model, {"x": X * 10})
    PlanIntegers()(space)
    Calibrate()(space)
    assert space.plan.floats["two"] == "the samples make its activation 'b' infinite or NaN"


def test_samples_of_nothing_but_zeros_are_refused() -> None:
    space = workspace(MODEL, {"x": 0 * X})
    PlanIntegers()(space)
    with pytest.raises(DataError, match="every value of input 'x' is zero"):
        Calibrate()(space)


OWN = """
from dataclasses import dataclass
from onnxq.scheme import Range

class Tight:
    histogram = False
    def range(self, statistics, schemes, through=None):
        return Range.of(statistics.low / 2, statistics.high / 2)

@dataclass(frozen=True)
class Fraction(Tight):
    kept: float = 0.5
    def range(self, statistics, schemes, through=None):
        return Range.of(statistics.low * self.kept, statistics.high * self.kept)

class Nothing(Tight):
    def range(self, statistics, schemes, through=None):
        return Range.of(float("nan"), 1)

class Needs(Tight):
    def __init__(self, what):
        pass

class Half:
    histogram = False

tight = Tight()
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "ranges_of_one_s_own.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("ranges_of_one_s_own", None)


@pytest.mark.parametrize(
    ("activations", "kept"),
    [
        ("ranges_of_one_s_own:Tight", 0.5),
        ({"ranges_of_one_s_own:Tight": None}, 0.5),
        ({"ranges_of_one_s_own:Fraction": {"kept": 0.25}}, 0.25),
    ],
)
@pytest.mark.usefixtures("own")
def test_a_calibrator_of_one_s_own(activations: str | dict[str, dict[str, object] | None], kept: float) -> None:
    assert "ranges_of_one_s_own" not in sys.modules
    whole, part = planned(), planned()
    Calibrate("minmax")(whole)
    Calibrate(activations)(part)
    assert part.activations["x"].scale == pytest.approx(kept * whole.activations["x"].scale, rel=1e-5)
    clipped = {entry.subject: entry.reason for entry in part.ledger.of("clipped")}
    assert clipped.keys() == {"x", "b"} and "some values lie outside" in clipped["x"]


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("activations", "said"),
    [
        ("no_such_module:Tight", "No module named 'no_such_module'. Put its folder into PYTHONPATH."),
        ("ranges_of_one_s_own:Tigt", "has no attribute 'Tigt'"),
        ("ranges_of_one_s_own:Half", "'ranges_of_one_s_own:Half' is not a calibrator"),
        ("ranges_of_one_s_own:Half", "it has no 'range'"),
        ("ranges_of_one_s_own:tight", "it is a Tight"),
        ("ranges_of_one_s_own:Needs", "ranges_of_one_s_own:Needs: cannot be made: TypeError"),
        ({"ranges_of_one_s_own:Tight": {"kept": 1}}, "it has no options, and 'kept' cannot be set"),
        ({"ranges_of_one_s_own:Fraction": {"keep": 1}}, "unknown field 'keep'. Did you mean 'kept'?"),
    ],
)
def test_what_is_wrong_with_one_s_own_is_said(
    activations: str | dict[str, dict[str, object] | None], said: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        Calibrate(activations)
    assert said in str(caught.value) and str(caught.value).startswith("activations: ")


@pytest.mark.usefixtures("own")
def test_a_range_of_one_s_own_that_is_none_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"Nothing chose .* for '[xb]'; a range has two finite ends"):
        Calibrate("ranges_of_one_s_own:Nothing")(planned())


def test_options_of_a_calibrator() -> None:
    assert Calibrate({"percentile": {"percentile": 90}}).calibrator() == Calibrate("percentile", 90.0).calibrator()
    assert Calibrate({"lp": {"p": 3}}).calibrator() == Lp(3.0)
    assert Calibrate({"lp": None}).calibrator() == Lp()


@pytest.mark.parametrize(("options", "said"), [(("no",), "unknown calibrator 'no'"), (("mse", 99.0), "must be")])
def test_options_that_do_not_fit_are_refused(options: tuple[str, float], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Calibrate(*options)
