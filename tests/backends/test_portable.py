"""One graph for onnxruntime and OpenVINO."""

from onnxq.backends import backend_of, onnxruntime, openvino
from onnxq.models.card import load_card
from onnxq.options import Options
from onnxq.pipeline import quantize
from onnxq.sqnr import sqnr_db
from onnxq.testing import normal, parse, run


def test_both_engines_run_every_layer_in_integers() -> None:
    entry = quantize(load_card("shapes_detector"), backend="portable")["portable"]
    assert entry.built is not None and entry.built.int8_nodes == entry.built.nodes == 41
    assert "onnxruntime" in entry.built.reading.engine and "OpenVINO" in entry.built.reading.engine
    assert all(";" in layer.detail for layer in entry.built.reading.layers)


def test_the_graph_is_onnxruntime_s() -> None:
    card = load_card("digits_mobilenet")
    result = quantize(card, backend=("portable", "onnxruntime"), options=Options(build=False))
    assert result["portable"].model.graph == result["onnxruntime"].model.graph


def test_a_layer_counts_as_integer_only_where_both_engines_say_so() -> None:
    """OpenVINO takes one that onnxruntime leaves in float: there is no quantizer behind the convolution."""
    model = quantize(
        parse("g (float[1,4,8,8] x) => (float[1,4,8,8] y) { [c] y = Conv(x, w) }", w=normal(4, 4, 1, 1)),
        {"x": normal(4, 4, 8, 8)},
        backend="openvino",
        options=Options(build=False),
    ).quantized
    build = backend_of("portable").build
    assert build is not None
    engine = build(model, {})
    alone = [door.build(model).read_back().layers[0].precision for door in (onnxruntime, openvino)]
    assert alone == ["fp32", "int8"]
    (layer,) = engine.read_back().layers
    assert layer.precision == "fp32"
    feeds = {"x": normal(1, 4, 8, 8)}
    assert sqnr_db(run(model, **feeds)["y"], engine.run(feeds)["y"]) > 40
