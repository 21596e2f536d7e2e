"""What was measured once serves any backend, and an interrupted run goes on to the same end."""

from pathlib import Path
from typing import Any

import onnx
import pytest

from onnxq import Options, calibrate, quantize
from onnxq.errors import DataError
from onnxq.measured_file import load_measured, save_measured
from onnxq.testing import normal, parse
from onnxq.watching import watch

TEXT = """g (float[N,3,8,8] x) => (float[N,5] y) {
    [c1] a = Conv<pads = [1,1,1,1]>(x, w1) [relu] b = Relu(a) [c2] c = Conv<strides = [2,2]>(b, w2)
    [pool] d = GlobalAveragePool(c) [flat] e = Flatten(d) [fc] y = Gemm<transB = 1>(e, w3) }"""
MODEL = parse(TEXT, w1=normal(6, 3, 3, 3), w2=normal(8, 6, 3, 3, seed=1), w3=normal(5, 8, seed=2))
X = normal(200, 3, 8, 8, seed=3)
GRAPH = Options(build=False)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The runs over the samples that were made to measure."""
    made: list[Any] = []

    def counted(*given: Any, **named: Any) -> Any:
        made.append(named["begun"])
        return watch(*given, **named)

    monkeypatch.setattr("onnxq.passes.calibrate.watch", counted)
    return made


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt", ("openvino", "tensorrt", "onnxruntime")])
@pytest.mark.parametrize("calibrator", ["minmax", "mse", "percentile", "auto"])
def test_any_backend_and_calibrator_gets_its_graph_without_a_run(
    tmp_path: Path, runs: list[Any], backend: Any, calibrator: str
) -> None:
    calibrate(MODEL, X, out=tmp_path / "s.npz")
    plain = quantize(MODEL, X, backend=backend, options=Options(calibrator, build=False))
    runs.clear()
    options = Options(calibrator, build=False, statistics=tmp_path / "s.npz")
    stored = quantize(MODEL, X, backend=backend, options=options)
    assert runs == []
    for name, entry in plain.backends.items():
        assert stored[name].model.SerializeToString(deterministic=True) == entry.model.SerializeToString(
            deterministic=True
        )


def test_parts_merged_serve_the_whole(tmp_path: Path, runs: list[Any]) -> None:
    parts = [calibrate(MODEL, X[some], backend="openvino") for some in (slice(0, 70), slice(70, 200))]
    merged = parts[0].merge(parts[1])
    save_measured(merged, tmp_path / "s.npz")
    plain = {"passes": ["fold_gemm_factors", "plan", "calibrate", "round_weights", "insert_qdq"]}
    whole = quantize(MODEL, X, backend="openvino", recipe=plain, options=GRAPH).quantized
    runs.clear()
    options = Options(build=False, statistics=tmp_path / "s.npz")
    found = quantize(MODEL, X, backend="openvino", recipe=plain, options=options).quantized
    assert runs == []
    assert found.SerializeToString(deterministic=True) == whole.SerializeToString(deterministic=True)


def test_an_interrupted_run_goes_on(tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxq.record.SECONDS", -1.0)
    whole = calibrate(MODEL, X, backend="openvino", out=tmp_path / "whole.npz")

    def stop(stage: str, done: int, total: int | None) -> None:
        if stage == "calibrate" and done > 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(MODEL, X, backend="openvino", out=tmp_path / "s.npz", progress=stop)
    assert not (tmp_path / "s.npz").exists()
    done = load_measured(tmp_path / "s.npz.part").done
    assert 0 < done <= 128
    runs.clear()
    calibrate(MODEL, X, backend="openvino", out=tmp_path / "s.npz")
    assert runs[0].done == done
    assert (tmp_path / "s.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert not (tmp_path / "s.npz.part").exists()
    assert load_measured(tmp_path / "s.npz").known.keys() == whole.known.keys()


def test_what_another_run_left_is_not_gone_on_with(tmp_path: Path, runs: list[Any]) -> None:
    calibrate(MODEL, X[:100], backend="openvino", out=tmp_path / "s.npz")
    (tmp_path / "s.npz").rename(tmp_path / "t.npz.part")
    runs.clear()
    calibrate(MODEL, X, backend="openvino", out=tmp_path / "t.npz")
    assert runs[0] is None


def test_stale_statistics_are_refused(tmp_path: Path) -> None:
    calibrate(MODEL, X, backend="openvino", out=tmp_path / "s.npz")
    options = Options(build=False, statistics=tmp_path / "s.npz")
    with pytest.raises(DataError, match="sample 1 is none of the 200 samples"):
        quantize(MODEL, X * 2, backend="openvino", options=options)
    other = onnx.ModelProto()
    other.CopyFrom(MODEL)
    next(node for node in other.graph.node if node.op_type == "Relu").op_type = "Elu"
    with pytest.raises(DataError, match="measured on another model"):
        quantize(other, X, backend="openvino", options=options)


def test_what_is_not_on_record_is_measured_and_told(tmp_path: Path, runs: list[Any]) -> None:
    quiet = {"passes": [{"plan": {"exclude": ["fc"]}}, "calibrate"]}
    calibrate(MODEL, X, backend="openvino", recipe=quiet, out=tmp_path / "s.npz")
    runs.clear()
    options = Options(build=False, statistics=tmp_path / "s.npz")
    plain = {"passes": ["plan", "calibrate", "round_weights", "insert_qdq"]}
    found = quantize(MODEL, X, backend="openvino", recipe=plain, options=options)["openvino"]
    told = [entry for entry in found.ledger.of("warning") if "not in it and were measured now" in entry.reason]
    assert len(runs) == 1
    assert [entry.subject for entry in told] == [str(tmp_path / "s.npz")]
