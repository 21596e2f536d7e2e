"""``auto`` chooses the range with the least error of what layers make of a tensor, in one pass, whatever the batch."""

from dataclasses import replace

import numpy as np
import pytest

from onnxq import Options, quantize
from onnxq.passes import Calibrate, PlanIntegers
from onnxq.scheme import QParams, Range, dequantize, qparams
from onnxq.scheme import quantize as rounded
from onnxq.testing import Array, named, normal, parse, workspace
from onnxq.watching import Values

LOUD = np.array([1, 1, 1, 60], np.float32)
X = np.abs(normal(512, 4)) * LOUD
W = normal(4, 8) / LOUD[:, np.newaxis] ** 2  # who is loudest is hardly read
MODEL = named(parse("g (float[N,4] x) => (float[N,8] y) { r = Relu(x) y = MatMul(r, w) }", w=W))


def calibrated(calibrator: str) -> QParams:
    """The grid of what the MatMul reads, calibrated on all of X."""
    space = workspace(MODEL, X, "openvino")
    space.samples = replace(space.samples, limit=None)
    PlanIntegers()(space)
    Calibrate(calibrator)(space)
    return space.activations["r"]


def error(params: QParams) -> float:
    """Of what the MatMul makes, over its power."""
    return power((dequantize(rounded(X, params), params) - X) @ W) / power(X @ W)


def power(array: Array) -> float:
    return float(np.square(array.astype(np.float64)).sum())


def test_what_the_layer_makes_errs_least() -> None:
    plain, weighed = calibrated("mse"), calibrated("auto")
    reaches = np.geomspace(0.5, X.max(), 200)
    least = min(error(qparams(weighed.scheme, Range.of(0, high))) for high in reaches)
    assert error(weighed) <= 1.3 * least
    assert error(weighed) < error(plain) / 100


def test_tensors_that_no_layer_reads_count_as_they_are_and_the_report_says_so() -> None:
    model = named(
        parse("g (float[N,4] x) => (float[N,8] y) { a = MatMul(x, w) b = Relu(a) c = Add(b, b) y = MatMul(c, v) }",
              w=W, v=normal(8, 8))
    )  # fmt: skip
    results = {
        name: quantize(model, X, backend="onnxruntime", options=Options(build=False, calibrator=name))["onnxruntime"]
        for name in ("mse", "auto")
    }
    said = {entry.subject for entry in results["auto"].ledger.of("declined") if "as for 'mse'" in entry.reason}
    assert said
    for tensor in said:
        assert results["auto"].activations[tensor] == results["mse"].activations[tensor]


@pytest.mark.parametrize("batch", [1, 5, None])
def test_the_weights_do_not_depend_on_the_batch_and_cost_no_second_run(batch: int | None) -> None:
    space = workspace(MODEL, X, "openvino")
    space.batch = batch
    PlanIntegers()(space)
    steps: list[int] = []
    space.progress = lambda stage, done, total: steps.append(done)
    Calibrate("auto")(space)
    assert steps == sorted(set(steps))
    watcher = next(watcher for watcher in space.kept if isinstance(watcher, Values))
    counts = space.seen(watcher).counts
    assert counts is not None and watcher.weights is not None
    assert counts.sum() == 8 * sum(watcher.weights.each)
    assert not Calibrate("auto")(space)


def test_merged_counts_are_those_of_all() -> None:
    space = workspace(MODEL, X, "openvino")
    PlanIntegers()(space)
    _, weighed = Calibrate("auto").watched(space)
    watcher = weighed["r"]

    def kept(array: Array) -> bytes:
        count = watcher.begin()
        count.add(array, len(array))
        found = count.kept().counts
        assert found is not None
        return found.tobytes()

    one, other = watcher.begin(), watcher.begin()
    one.add(X[:100], 100)
    other.add(X[100:], 412)
    merged = one.kept().merge(other.kept()).counts
    assert merged is not None and merged.tobytes() == kept(X)
