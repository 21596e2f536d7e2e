"""Models are read whole or refused in one sentence, and keep on the way back what they came with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from onnxq.errors import ModelError
from onnxq.model import export, load_model, read_model, save_model, to_graph
from onnxq.testing import normal, parse, run

W = normal(4, 3, 3, 3)
MODEL = parse("g (float[N,3,8,8] x) => (float[N,4,6,6] y) { [conv] a = Conv(x, w) [act] y = Relu(a) }", w=W)
RAW = MODEL.SerializeToString()


def refused(source: str | Path | onnx.ModelProto) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    change(model)
    return model


def external(location: str, **more: str) -> onnx.ModelProto:
    def move(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": location, **more}.items():
            tensor.external_data.add(key=key, value=value)

    return changed(move)


@pytest.mark.parametrize("name", ["a.onnx", "a.txt", "a.json", "a.onnxtxt", "a.yaml"])
@pytest.mark.parametrize("content", [b"", b"passes:\n  - fold\n", b"{}", bytes(64)])
def test_a_file_that_is_no_model_is_refused_whatever_its_suffix(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert refused(tmp_path / name).startswith(f"{tmp_path / name}: ")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "no.onnx")
    assert "no such file" in refused(str(tmp_path))


def test_a_model_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    for end in range(0, len(RAW), 9):
        (tmp_path / "cut.onnx").write_bytes(RAW[:end])
        said = refused(tmp_path / "cut.onnx")
        assert any(words in said for words in ("cut off", "no graph", "names no opset")), end


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda model: setattr(model.opset_import[0], "version", 99), "opset 99; the installed onnx"),
        (lambda model: model.opset_import.pop(), "names no opset"),
        (lambda model: setattr(model, "ir_version", 99), "not a valid ONNX model"),
        (lambda model: setattr(model.graph.node[0], "op_type", "Cnov"), "not a valid ONNX model"),
        (lambda model: model.graph.initializer.pop(), "not a valid ONNX model"),
    ],
)
def test_a_model_that_is_not_valid_is_refused(change: Callable[[onnx.ModelProto], object], said: str) -> None:
    assert said in refused(changed(change))


def test_a_quantized_model_is_refused() -> None:
    model = parse(
        "g (float[N] x) => (float[N] y) { [q] a = QuantizeLinear(x, s, z) [d] y = DequantizeLinear(a, s, z) }",
        s=np.array(1, np.float32), z=np.array(0, np.uint8),
    )  # fmt: skip
    assert "already quantized: 2 nodes such as 'q' (QuantizeLinear)" in refused(model)
    foreign = changed(lambda model: model.opset_import.append(onnx.helper.make_opsetid("qonnx.custom_op.general", 1)))
    foreign.graph.node[1].op_type, foreign.graph.node[1].domain = "Quant", "qonnx.custom_op.general"
    assert "already quantized" in refused(foreign)


@pytest.mark.parametrize("op", ["DequantizeLinear", "com.microsoft.QGemm"])
def test_a_quantized_model_is_taken_where_one_is_wanted(op: str) -> None:
    model = parse(f"g (float[N,3] x) => (float[N,3] y) {{ [q] y = {op}(x, s) }}", s=np.array(0.1, np.float32))
    if "." in op:
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
        assert [node.name for node in load_model(model, quantized=True).graph.node] == ["q"]
    assert "onnxq retarget" in refused(model)


def test_a_float_model_is_refused_where_a_quantized_one_is_wanted() -> None:
    with pytest.raises(ModelError, match=r"has no Q/DQ nodes.*Use: onnxq quantize"):
        load_model(parse("g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }"), quantized=True)


@pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "sub/../../w.bin", "link/w.bin"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    (folder / "link").symlink_to(tmp_path)
    (folder / "m.onnx").write_bytes(external(location).SerializeToString())
    assert "outside the model's folder" in refused(folder / "m.onnx")


@pytest.mark.parametrize(
    "more", [{"location": "no.bin"}, {"location": ""}, {"offset": "-5"}, {"offset": "x"}, {"length": "999"}]
)
def test_external_data_that_cannot_be_read_is_refused(tmp_path: Path, more: dict[str, str]) -> None:
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    (tmp_path / "m.onnx").write_bytes(external(**{"location": "w.bin", **more}).SerializeToString())
    assert "tensor 'w' cannot be read" in refused(tmp_path / "m.onnx")


def test_external_data_is_read_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.bin").write_bytes(b"1234" + W.tobytes())
    (tmp_path / "m.onnx").write_bytes(external("w.bin", offset="4", length=str(W.nbytes)).SerializeToString())
    monkeypatch.chdir("/")
    (weight,) = load_model(tmp_path / "m.onnx").graph.initializer
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(weight), W)
    assert not weight.external_data and weight.data_location == onnx.TensorProto.DEFAULT


def test_what_graphsurgeon_forgets_survives() -> None:
    model = changed(lambda model: model.metadata_props.add(key="classes", value="cat,dog"))
    model.doc_string, model.domain, model.model_version = "a net", "org.example", 3
    model.producer_name, model.producer_version, model.graph.doc_string = "exporter", "1.2", "the graph"
    back = export(to_graph(load_model(model)), load_model(model))
    for name in ("doc_string", "domain", "model_version", "producer_name", "producer_version", "metadata_props"):
        assert getattr(back, name) == getattr(model, name), name
    assert back.graph.doc_string == "the graph"
    assert [value.name for value in back.graph.output] == ["y"]
    np.testing.assert_array_equal(run(back, x=normal(1, 3, 8, 8))["y"], run(model, x=normal(1, 3, 8, 8))["y"])
    onnx.checker.check_model(back, full_check=True)


def test_custom_domains_survive() -> None:
    model = changed(lambda model: model.opset_import.append(onnx.helper.make_opsetid("org.example", 2)))
    model.graph.node[1].op_type, model.graph.node[1].domain = "Mish", "org.example"
    back = export(to_graph(load_model(model)), load_model(model))
    assert {(entry.domain, entry.version) for entry in back.opset_import} == {("", 17), ("org.example", 2)}
    assert back.graph.node[1].domain == "org.example"


def test_the_model_given_is_not_changed() -> None:
    before = MODEL.SerializeToString()
    load_model(MODEL)
    assert MODEL.SerializeToString() == before


def test_a_saved_model_loads_as_it_was(tmp_path: Path) -> None:
    save_model(MODEL, tmp_path / "new" / "m.onnx")
    assert onnx.load(tmp_path / "new" / "m.onnx") == MODEL


def test_a_message_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxq.outside.LIMIT", 100)
    assert "the limit is 2 GiB. Write it with its weights beside it" in refused(MODEL)


def test_weights_that_lie_outside_a_model_given_as_an_object_are_refused() -> None:
    assert "the weights of 'w' lie in another file. Give the path" in refused(external("w.bin"))


def test_a_quantized_model_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxq.outside.LIMIT", 400)
    monkeypatch.setattr("onnxq.outside.SMALL", 100)
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    (tmp_path / "m.onnx").write_bytes(external("w.bin").SerializeToString())
    with pytest.raises(ModelError, match="the limit is 2 GiB, but for float models"):
        read_model(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="the limit is 2 GiB, but for float models"):
        load_model(tmp_path / "m.onnx", quantized=True)
