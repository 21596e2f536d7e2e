"""Models are read whole or refused in one sentence, and keep on the way back what they came with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from onnxq.errors import ModelError
from onnxq.model import export, load_model, opset, save_model, to_graph
from onnxq.testing import normal, ops, parse, run

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


@pytest.mark.parametrize("version", range(7, 13))
def test_old_opsets_are_upgraded_and_compute_the_same(version: int) -> None:
    old = onnx.parser.parse_model(f"""<ir_version: 4, opset_import: ["": {version}]>
        g (float[2,3,8,8] x, float[4,3,3,3] w) => (float[2,4,6,1] y) {{
            a = Conv(x, w) b = BatchNormalization(a, s, s, s, s) c = Dropout(b)
            d = AveragePool<kernel_shape=[1,6]>(c) y = Softmax<axis=1>(d) }}""")
    old.doc_string = "said by the exporter"
    arrays = {"w": W, "s": np.array([1, 2, 3, 4], np.float32)}
    old.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    new = load_model(old)
    assert opset(new) == 13 and new.doc_string == old.doc_string
    np.testing.assert_allclose(run(new, x=normal(2, 3, 8, 8))["y"], run(old, x=normal(2, 3, 8, 8))["y"], atol=1e-6)


def test_an_upgrade_that_fails_says_so() -> None:
    old = onnx.parser.parse_model("""<ir_version: 3, opset_import: ["": 8, "mine": 1]>
        g (float[1,1,4,4] x) => (float[1,1,8,8] y) { y = Upsample<scales=[1.0, 1.0, 2.0, 2.0]>(x) }""")
    del old.opset_import[1]
    old.graph.node[0].op_type = "Scan"
    assert "opset" in refused(old) or "not a valid" in refused(old)


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


def test_functions_are_inlined() -> None:
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[N] x) => (float[N] y) { a = local.twice(x) y = local.twice(a) }
        <domain: "local", opset_import: ["": 17]> twice (x) => (y) { y = Add(x, x) }""")
    loaded = load_model(model)
    assert ops(loaded) == ["Add", "Add"] and not loaded.functions
    assert len({node.name for node in loaded.graph.node}) == 2
    np.testing.assert_array_equal(run(loaded, x=np.array([1, 2], np.float32))["y"], [4, 8])


def test_every_node_gets_a_name_of_its_own_in_branches_too() -> None:
    model = parse("""g (float[N] x, bool flag) => (float[N] y) { a = Relu(x) [n] b = Abs(a) [n] c = Neg(b)
        [choice] y = If (flag) <then_branch = t () => (float[N] u) { [n] u = Exp(c) },
                                else_branch = e () => (float[N] v) { v = Sin(c) }> }""")
    loaded = load_model(model)
    branches = [node.name for attribute in loaded.graph.node[3].attribute for node in attribute.g.node]
    assert [node.name for node in loaded.graph.node] == ["Relu_a", "n", "n_1", "choice"]
    assert sorted(branches) == ["Sin_v", "n_2"]


def test_the_model_given_is_not_changed() -> None:
    before = MODEL.SerializeToString()
    load_model(MODEL)
    assert MODEL.SerializeToString() == before


def test_a_saved_model_loads_as_it_was(tmp_path: Path) -> None:
    save_model(MODEL, tmp_path / "new" / "m.onnx")
    assert onnx.load(tmp_path / "new" / "m.onnx") == MODEL
