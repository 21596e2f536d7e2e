"""Watching tensors while a graph runs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.channel_weights import ChannelWeights
from onnxq.inputs import InputSpec
from onnxq.model import load_model
from onnxq.samples import input_specs, open_samples
from onnxq.statistics import Count
from onnxq.testing import normal, parse
from onnxq.watching import WAITING, Values, watch

MODEL = parse("g (float[N,4] x) => (float[N,4] y) { a = MatMul(x, w) y = Relu(a) }", w=normal(4, 4))
X = normal(7, 4)


@pytest.mark.parametrize("batch", [1, 3, None])
@pytest.mark.parametrize("fixed", [None, 4])
def test_what_is_watched_does_not_depend_on_the_batch(batch: int | None, fixed: int | None) -> None:
    steps: list[int] = []
    samples = open_samples(X, [InputSpec("x", np.dtype(np.float32), (fixed, 4))])
    found = watch(MODEL, {name: Values(name) for name in ("x", "a")}, samples, batch=batch, step=steps.append)
    made = X @ normal(4, 4)
    assert (found["x"].low, found["x"].high) == (X.min(), X.max())
    assert found["a"].low == pytest.approx(made.min(), rel=1e-5)
    assert found["a"].counts is not None and found["a"].counts.sum() == 28
    assert steps[-1] == 7


@dataclass(frozen=True)
class Text:
    """Which samples were shown, in which batches; merged, in which order."""

    said: str

    def merge(self, other: "Text") -> "Text":
        return Text(f"{self.said} {other.said}")


@dataclass
class Teller:
    """Both a watcher and what it begins."""

    tensor: str
    said: str = ""

    def begin(self) -> "Teller":
        return Teller(self.tensor)

    def add(self, array: NDArray[np.float32], samples: int) -> None:
        self.said += f"{array[0, 0]:.0f}+{samples},"

    def kept(self) -> Text:
        return Text(self.said)


def test_every_shard_is_watched_by_itself_and_merged_in_order() -> None:
    data = np.arange(150, dtype=np.float32)[:, None].repeat(4, 1)
    read: list[int] = []

    def feeds() -> Iterator[dict[str, NDArray[np.float32]]]:
        read.append(1)
        yield {"x": data}

    samples = open_samples(feeds, input_specs(MODEL))
    found = watch(MODEL, {"told": Teller("x")}, samples, batch=40)
    assert found["told"].said == "0+40,40+24, 64+40,104+24, 128+22,"
    assert len(read) == 1


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((8, 41, 43), -3),  # reduced inside the graph, by pooling
        ((5, 33, 64), -1),  # the same, with channels on an axis that is thinned out
        ((150, 64), -1),  # reduced inside the graph, by rows
        ((6, 7), -1),  # taken out whole
    ],
)
def test_values_count_for_the_weights_of_their_channels(shape: tuple[int, ...], axis: int) -> None:
    axes = ",".join(map(str, shape))
    model = load_model(parse(f"g (float[N,{axes}] x) => (float[N,{axes}] z) {{ y = Relu(x) z = Neg(y) }}"))
    array = np.abs(normal(3, *shape)) + 1
    weights = ChannelWeights(axis, tuple(range(1, shape[axis] + 1)))
    watchers = {"weighed": Values("y", weights=weights), "alike": Values("y")}
    found = watch(model, watchers, open_samples(array, input_specs(model)), batch=2)
    whole = Count(True, weights.row)
    whole.add(array, 3)
    np.testing.assert_array_equal(found["weighed"].counts, whole.kept().counts)
    mean = found["weighed"].counts.sum() / found["alike"].counts.sum()
    assert mean == pytest.approx((shape[axis] + 1) / 2, rel=0.05)  # of weights 1, 2, ... as often as each other


def test_many_small_batches_are_looked_at_as_one_and_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "g (float[N,4,24,30] x) => (float[N,4,24,30] y) { a = Relu(x) b = Sigmoid(x) y = Add(a, b) }"
    model, array = load_model(parse(text)), normal(70, 4, 24, 30)
    watchers = {name: Values(name) for name in ("x", "a", "b", "y")}
    found = []
    for limit, batch in ((0, 1), (WAITING, 1), (200_000, 3), (WAITING, 64)):
        monkeypatch.setattr("onnxq.watching.WAITING", limit)
        found.append(watch(model, watchers, open_samples(array, input_specs(model)), batch=batch))
    for other in found[1:]:
        for name, one in found[0].items():
            assert (one.low, one.high, one.each().mean) == (other[name].low, other[name].high, other[name].each().mean)
            np.testing.assert_array_equal(one.counts, other[name].counts)
            np.testing.assert_array_equal(one.each().latest, other[name].each().latest)


def test_arrays_that_are_filled_again_for_the_next_batch_are_looked_at_before() -> None:
    held = np.zeros((1, 4), np.float32)

    def feeds() -> Iterator[dict[str, NDArray[np.float32]]]:
        for number in range(5):
            held[:] = number
            yield {"x": held}

    found = watch(MODEL, {"x": Values("x")}, open_samples(feeds, input_specs(MODEL)), batch=1)
    assert found["x"].each().latest[:, 1].tolist() == [0, 1, 2, 3, 4]
