"""Every target on every model that ships: its graph runs, its grids obey its table, and what is written beside it
agrees with what the graph computes."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from onnxq import Options, quantize
from onnxq.backends import TARGETS, backend_of
from onnxq.execute import Session
from onnxq.model import load_model
from onnxq.models.card import load_card, shipped_cards
from onnxq.report import write_report
from onnxq.result import BackendResult, Result
from onnxq.samples import input_specs, open_samples
from onnxq.scheme import Scheme, Steps, dequantize
from onnxq.scheme import quantize as on_grid
from onnxq.sqnr import sqnr_db
from onnxq.testing import normal, parse

U8, U16, I8 = Scheme(False, False), Scheme(False, False, 16), Scheme(True, True)
POWERS, LOG = replace(I8, steps=Steps.POWER_OF_TWO), replace(I8, steps=Steps.LOGARITHMIC)
TABLE: Mapping[str, tuple[Scheme, Scheme, bool]] = {
    "nnie": (LOG, LOG, False),
    "ppl_cuda": (U8, U8, True),
    "ppl_w8a16": (U16, U8, False),
    "qnn": (U8, I8, True),
    "qnn_a16": (U16, I8, True),
    "snpe": (U8, U8, False),
    "tengine": (U8, U8, False),
    "tflite": (Scheme(True, False), I8, True),
    "tvm": (U8, U8, False),
    "vitis": (POWERS, POWERS, False),
}
QDQ = ("QuantizeLinear", "DequantizeLinear")
LEAST = 18.0  # dB
# Channels differ so much in one model that a grid per tensor loses small ones, and by powers of two more.
HARD = {("digits_mobilenet", name): 8.0 for name, (_, _, per_channel) in TABLE.items() if not per_channel}
HARD |= {("digits_mobilenet", "vitis"): 2.5, ("shapes_detector", "vitis"): 12.0}


@cache
def made(card: str) -> Result:
    found = load_card(card)
    options = Options(build=False, samples=64, preprocessing=found.preprocessing)
    return quantize(found.model_path, found.calibration_path, backend=TARGETS, options=options)


def constants(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_the_table_names_every_target() -> None:
    assert tuple(sorted(TABLE)) == TARGETS
    for name in TARGETS:
        backend = backend_of(name)
        assert backend.name == name and backend.simulated
        folder = Path(__file__).resolve().parents[2] / "onnxq/backends/targets"
        assert len((folder / f"{name}.py").read_text().splitlines()) < 40


@pytest.mark.parametrize("card", shipped_cards())
@pytest.mark.parametrize("name", TARGETS)
def test_the_graph_runs_and_is_close(card: str, name: str) -> None:
    entry, found = made(card)[name], load_card(card)
    source = load_model(found.model_path)
    samples = open_samples(found.calibration_path, input_specs(source), preprocessing=found.preprocessing)
    feeds = next(iter(samples.take(32).batches(32))).feeds
    onnx.checker.check_model(entry.model)
    before, after = Session(source).run(feeds), Session(entry.model, optimize=False).run(feeds)
    assert min(sqnr_db(before[output], after[output]) for output in before) > HARD.get((card, name), LEAST)
    fused = Session(entry.model).run(feeds)
    assert min(sqnr_db(after[output], fused[output]) for output in before) > 15 or (card, name) in HARD


@pytest.mark.parametrize("card", shipped_cards())
@pytest.mark.parametrize("name", TARGETS)
def test_every_grid_obeys_the_table(card: str, name: str) -> None:
    entry = made(card)[name]
    activation, weight, per_channel = TABLE[name]
    assert entry.activations and entry.weights
    assert {params.scheme for params in entry.activations.values()} == {activation}
    schemes = {rounded.params.scheme for rounded in entry.weights.values()}
    assert {scheme.along(None) for scheme in schemes} == {weight}
    assert {scheme.axis is not None for scheme in schemes} <= {per_channel, False}
    held = constants(entry.model)
    for node in entry.model.graph.node:
        if node.op_type not in QDQ:
            continue
        scale, zero = held[node.input[1]], held[node.input[2]] if len(node.input) > 2 else np.zeros((), np.int32)
        bias = zero.dtype == np.int32
        assert np.all(scale > 0) and (not np.any(zero) or not (activation.symmetric and weight.symmetric))
        if weight.steps is Steps.LOGARITHMIC:
            assert zero.dtype == np.uint8 and scale == np.float32(np.log(2) / 16)
        else:
            assert bias or zero.dtype in (activation.dtype, weight.dtype)
        if weight.steps is Steps.POWER_OF_TWO:
            assert np.all(np.frexp(scale)[0] == 0.5) and not bias
    for weight_entry, rounded in entry.weights.items():
        integers = rounded.integers
        assert integers.min() >= (weight.lowest if weight is not LOG else -128) and integers.max() <= weight.highest
        assert integers.shape == tuple(next(v.shape for k, v in floats(card).items() if k == weight_entry.tensor))


@cache
def floats(card: str) -> dict[str, NDArray[Any]]:
    """The weights of the float model, batch norm folded."""
    delivery = made(card)["qnn"].delivery
    assert delivery is not None
    return constants(delivery.model)


def told(entry: BackendResult) -> dict[str, tuple[list[float], list[int]]]:
    """Scales and zero points (of the stored integers) by tensor, as the side file has them; for NNIE the clipping
    values by layer."""
    assert entry.delivery is not None
    text = entry.delivery.text
    if entry.backend == "tengine":
        lines = [line.rsplit(" ", 2) for line in text.splitlines()]
        return {name: ([float(scale)], [int(zero)]) for name, scale, zero in lines}
    value = json.loads(text)
    if entry.backend == "nnie":
        return {name: (clips, []) for name, clips in value["nnie"]["gfpq_param_dict"].items()}
    if entry.backend.startswith("ppl"):
        tensors = (value.get("quant_info") or value["ppl"]).items()
        return {name: (listed(row.get("scale", row.get("step"))), listed(row["zero_point"])) for name, row in tensors}
    assert value["version"] == ("0.6.1" if entry.backend == "snpe" else "1.0.0")
    found = {}
    for group in (value["activation_encodings"], value["param_encodings"]):
        named = group if isinstance(group, dict) else {row["name"]: [row] for row in group}
        for name, rows in named.items():
            # Offsets are of unsigned integers; weights of i8 are stored 128 lower.
            shift = 128 if str(rows[0].get("is_symmetric", rows[0].get("is_sym"))) == "True" else 0
            scales = [scale for row in rows for scale in listed(row["scale"])]
            found[name] = (scales, [-offset - shift for row in rows for offset in listed(row["offset"])])
    return found


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


DELIVERED = [name for name in TARGETS if backend_of(name).side_file is not None]


def test_which_targets_take_a_float_model() -> None:
    assert DELIVERED == ["nnie", "ppl_cuda", "ppl_w8a16", "qnn", "qnn_a16", "snpe", "tengine"]


@pytest.mark.parametrize("card", shipped_cards())
@pytest.mark.parametrize("name", DELIVERED)
def test_the_side_file_says_what_the_graph_computes(card: str, name: str) -> None:
    entry = made(card)[name]
    assert entry.delivery is not None
    rows, held, used = told(entry), constants(entry.model), set()
    tensors = {tensor for node in entry.delivery.model.graph.node for tensor in (*node.input, *node.output)}
    if name == "nnie":
        nodes = {node.name: node for node in entry.delivery.model.graph.node}
        for layer, (clips, _) in rows.items():
            assert len(clips) == sum(tensor in entry.activations for tensor in nodes[layer].input)
            assert all(16 * np.log2(clip) == pytest.approx(round(16 * np.log2(clip)), abs=1e-9) for clip in clips)
        assert len(rows) == len(entry.plan.nodes | {n for e in entry.plan.activations.values() for n, _ in e.wanted})
        return
    assert rows.keys() <= tensors
    for node in entry.model.graph.node:
        if node.op_type not in QDQ:
            continue
        tensor = node.input[1].removesuffix("/scale")
        weight = node.input[0] in held
        if weight and name == "tengine":
            continue
        scales, zeros = rows[tensor]
        np.testing.assert_array_equal(np.atleast_1d(held[node.input[1]]), np.array(scales, np.float32))
        np.testing.assert_array_equal(np.atleast_1d(held[node.input[2]]), zeros)
        used.add(tensor)
    assert used == rows.keys()


@pytest.mark.parametrize("card", shipped_cards())
@pytest.mark.parametrize("name", DELIVERED)
def test_the_float_model_has_no_q_and_rounds_to_the_same_integers(card: str, name: str) -> None:
    entry = made(card)[name]
    assert entry.delivery is not None
    model = entry.delivery.model
    onnx.checker.check_model(model)
    assert not {node.op_type for node in model.graph.node} & set(QDQ)
    held = constants(model)
    for weight, rounded in entry.weights.items():
        reals = held[weight.tensor].astype(np.float32)
        np.testing.assert_array_equal(reals, dequantize(rounded.integers, rounded.params))
        np.testing.assert_array_equal(on_grid(reals, rounded.params), rounded.integers)


MLP = "g (float[N,4] x) => (float[N,4] y) { [one] a = Gemm(x, w, b) [act] r = Relu(a) [two] y = Gemm(r, v, b) }"


@pytest.mark.parametrize("opset", [17, 21])
def test_16_bits_below_opset_21_are_onnxruntimes_own(opset: int) -> None:
    model = parse(MLP, opset, w=normal(4, 4), v=normal(4, 4), b=normal(4))
    found = quantize(model, {"x": normal(8, 4)}, backend="ppl_w8a16", options=Options(build=False)).quantized
    wide = [node for node in found.graph.node if node.op_type == "QuantizeLinear"]
    assert {node.domain for node in wide} == {"com.microsoft" if opset == 17 else ""}
    assert {entry.domain: entry.version for entry in found.opset_import}[""] == opset
    assert all(node.domain == "" for node in found.graph.node if node.op_type not in QDQ)


def test_a_target_is_judged_and_told_as_simulated(tmp_path: Path) -> None:
    model = parse(MLP, w=normal(4, 4), v=normal(4, 4), b=normal(4))
    result = quantize(model, {"x": normal(8, 4)}, backend=["snpe", "vitis"])
    for entry in result.backends.values():
        assert entry.simulated and entry.built is None and entry.problem is None
        assert entry.judged is not None and entry.judged.engine == () and entry.judged.graph[0].sqnr_db > 15
    written = result.save(tmp_path)
    names = ["model.snpe.encodings.json", "model.snpe.onnx", "model.snpe.simulated.onnx", "model.vitis.onnx"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert onnx.load(tmp_path / "model.snpe.simulated.onnx") == result["snpe"].model
    write_report(result, written, tmp_path / "report.txt")
    said = (tmp_path / "report.txt").read_text()
    assert said.count("simulated, not built") == 2 and "model.snpe.encodings.json" in said


def test_a_target_of_the_users_own_is_a_value() -> None:
    model = parse(MLP, w=normal(4, 4), v=normal(4, 4), b=normal(4))
    mine = replace(backend_of("qnn"), name="mine", weight=replace(I8, bits=4), side_file=None)
    result = quantize(model, {"x": normal(8, 4)}, backend=[mine, "qnn"])
    assert list(result.backends) == ["mine", "qnn"]
    assert {rounded.params.scheme.bits for rounded in result["mine"].weights.values()} == {4}
    assert result["mine"].judged is not None and result["mine"].delivery is None
