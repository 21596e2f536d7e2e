"""A model is made again from what it tells of itself, and what differs is said in plain words."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from large_model import large_model
from onnxq import outside
from onnxq.calibration import calibrate
from onnxq.errors import DataError, ModelError, OnnxqError, RecipeError
from onnxq.metrics import Top1
from onnxq.models.card import load_card
from onnxq.options import Options
from onnxq.pipeline import quantize
from onnxq.preprocess import Preprocessing
from onnxq.provenance import provenance_of, read_provenance, stamp
from onnxq.provenance.reproduce import reproduce
from onnxq.retargeting.retarget import retarget
from onnxq.testing import normal, parse

GRAPH = """g (float[N,3,8,8] x) => (float[N,4] y)
{ [conv] c = Conv<pads = [1,1,1,1]>(x, w, b) [relu] r = Relu(c) [pool] p = GlobalAveragePool(r) [flat] y = Flatten(p) }
"""
NO_BUILD = Options(build=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(parse(GRAPH, w=normal(4, 3, 3, 3), b=normal(4, seed=1)), tmp_path / "m.onnx")
    np.savez(tmp_path / "data.npz", x=normal(8, 3, 8, 8, seed=2))
    return tmp_path


def made(folder: Path, name: str = "q.onnx", /, **how: Any) -> Path:
    options = how.pop("options", NO_BUILD)
    data = how.pop("samples", folder / "data.npz")
    result = quantize(folder / "m.onnx", data, options=options, **how)
    result.save(folder / name)
    return folder / name


@pytest.mark.parametrize(
    ("how", "options"),
    [
        ({}, Options(build=False)),
        ({"backend": ("tensorrt", "openvino")}, Options(build=False, samples=5, weight_bits=4)),
        ({"backend": "openvino"}, Options(build=False, reduce_range=True, calibrator="percentile")),
        ({}, Options()),
        ({"backend": "snpe"}, Options(build=False)),
        ({"samples": "random"}, Options(build=False, seed=3)),
    ],
)
def test_it_is_the_same_byte_for_byte(folder: Path, how: dict[str, Any], options: Options) -> None:
    made(folder, "{backend}.onnx", options=options, **how)
    path = folder / f"{np.atleast_1d(how.get('backend', 'onnxruntime'))[-1]}.onnx"
    told = read_provenance(path)
    found = reproduce(path, folder / "m.onnx", None if told.given.seed is not None else folder / "data.npz")
    assert found.same and not found.notes, found.differences


def test_weights_alone_need_no_samples(tmp_path: Path) -> None:
    model, path = large_model(tmp_path, 2, 96), tmp_path / "q.onnx"
    quantize(model, options=Options(build=False, weights_only=True)).save(path)
    assert reproduce(path, model).same


def test_a_file_beside_the_float_model_is_compared_too(folder: Path) -> None:
    path = made(folder, backend="snpe")
    assert read_provenance(path) == read_provenance(folder / "q.simulated.onnx")
    (folder / "q.encodings.json").write_text("{}")
    assert reproduce(path, folder / "m.onnx", folder / "data.npz").differences == (
        "bytes: q.encodings.json is not the same",
        "the graph, its constants and what it tells of itself are the same",
    )


def test_a_card_brings_its_samples_and_its_metric(tmp_path: Path) -> None:
    card = load_card("digits_mobilenet")
    quantize(card, options=Options(samples=16)).save(tmp_path / "q.onnx")
    accuracy = read_provenance(tmp_path / "q.onnx").accuracy
    assert accuracy is not None and accuracy.metric == "top1" and accuracy.fp32 == 99.8
    assert reproduce(tmp_path / "q.onnx", card).same
    alone = reproduce(tmp_path / "q.onnx", card.model_path, card.calibration_path)
    assert alone.same and alone.notes == ("accuracy was not measured again: --model has no top1; a card would",)


def test_images_are_prepared_as_they_were(folder: Path) -> None:
    (folder / "photos").mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3), np.uint8)):
        Image.fromarray(pixels).save(folder / f"photos/{number}.png")
    options = Options(build=False, preprocessing=Preprocessing(crop=8, scale=0.01))
    path = made(folder, samples=folder / "photos", options=options)
    assert read_provenance(path).given.preprocessing == {"crop": 8, "scale": 0.01}
    assert reproduce(path, folder / "m.onnx", folder / "photos").same


def test_statistics_of_other_samples_and_ranges_are_inputs(folder: Path) -> None:
    more = normal(40, 3, 8, 8, seed=5)
    calibrate(folder / "m.onnx", {"x": more}, out=folder / "s.npz")
    given = {"samples": {"x": more[:8]}, "options": replace(NO_BUILD, statistics=folder / "s.npz")}
    path = made(folder, **given)
    with pytest.raises(DataError, match="made with statistics of other samples"):
        reproduce(path, folder / "m.onnx", {"x": more[:8]})
    assert reproduce(path, folder / "m.onnx", {"x": more[:8]}, statistics=folder / "s.npz").same
    calibrate(folder / "m.onnx", {"x": more[:20]}, out=folder / "t.npz")
    (said,) = reproduce(path, folder / "m.onnx", {"x": more[:8]}, statistics=folder / "t.npz").differences
    assert said.startswith("statistics: the statistics are other ones")
    same = made(folder, options=NO_BUILD, samples={"x": more}).read_bytes()
    stored = made(folder, samples={"x": more}, options=replace(NO_BUILD, statistics=folder / "s.npz"))
    assert stored.read_bytes() == same  # measured on the same samples, they are no input of their own


def test_ranges_go_by_their_content(folder: Path) -> None:
    result = quantize(
        folder / "m.onnx", folder / "data.npz", backend="tensorrt", options=replace(NO_BUILD, export_ranges=True)
    )
    result["tensorrt"].save_ranges(folder / "r.cache")
    path = made(folder, backend="tensorrt", options=replace(NO_BUILD, ranges=folder / "r.cache"))
    assert "r.cache" not in read_provenance(path).recipe and str(folder).encode() not in path.read_bytes()
    with pytest.raises(RecipeError, match="made with a file of ranges"):
        reproduce(path, folder / "m.onnx", folder / "data.npz")
    shutil.move(folder / "r.cache", folder / "other.cache")
    assert reproduce(path, folder / "m.onnx", folder / "data.npz", ranges=folder / "other.cache").same


def test_what_differs_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(folder, options=Options())

    def said(model: str = "m.onnx", data: object = "data.npz") -> str:
        found = reproduce(path, folder / model, data)  # type: ignore[arg-type]
        assert not found.same
        return "\n".join(found.differences)

    x = np.load("data.npz")["x"]
    assert said(data={"x": x[:7]}) == "samples: 8 then, 7 now"
    assert said(data={"x": x[::-1]}).startswith("samples: the samples are other ones, or in another order (")
    renamed = onnx.load("m.onnx")
    renamed.graph.node[0].name = "first"
    onnx.save(renamed, "other.onnx")
    assert said("other.onnx").startswith("model: the FP32 model is another one, or another version of it (")

    whole = path.read_bytes()
    changed = onnx.load_from_string(whole)
    scale = next(tensor for tensor in changed.graph.initializer if tensor.name.endswith("scale"))
    scale.CopyFrom(onnx.numpy_helper.from_array(2 * onnx.numpy_helper.to_array(scale), scale.name))
    path.write_bytes(changed.SerializeToString(deterministic=True))
    lines = said()
    assert f"differ, the first is {scale.name!r}" in lines and "bytes: q.onnx is not the same" in lines

    changed = onnx.load_from_string(whole)
    changed.graph.node[-1].name = "last"
    path.write_bytes(changed.SerializeToString(deterministic=True))
    assert "graph: " in (lines := said()) and "1 are others in their place" in lines

    changed = onnx.load_from_string(whole)
    told = provenance_of(changed)
    assert told.accuracy is not None
    better = replace(told.accuracy, sqnr_db=99.0)
    stamp(changed, replace(told, accuracy=better, versions={**told.versions, "onnxruntime": "1.0"}))
    path.write_bytes(changed.SerializeToString(deterministic=True))
    lines = said()
    assert f"version of onnxruntime: 1.0 then, {told.versions['onnxruntime']} now" in lines
    assert f"accuracy: sqnr_db: 99.0 then, {told.accuracy.sqnr_db} now" in lines and "constants" not in lines

    changed = onnx.load_from_string(whole)
    changed.metadata_props.add(key="mine", value="1")
    path.write_bytes(changed.SerializeToString(deterministic=True))
    assert said().startswith("bytes: q.onnx is not the same\nthe graph, its constants and what")
    path.write_bytes(whole)
    assert reproduce(path, folder / "m.onnx", "data.npz").same


def test_weights_beside_the_model_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = large_model(tmp_path, 4, 96)
    monkeypatch.setattr(outside, "LIMIT", 20_000)
    monkeypatch.setattr(outside, "SMALL", 1_000)
    x = {"x0": normal(16, 96)}
    path = tmp_path / "out/q.onnx"
    quantize(model, x, options=NO_BUILD).save(path)
    assert reproduce(path, model, x).same
    beside = path.with_name("q.onnx.data")
    beside.write_bytes(bytes([beside.read_bytes()[0] ^ 1]) + beside.read_bytes()[1:])
    assert reproduce(path, model, x).differences[0] == "bytes: q.onnx.data is not the same"


def test_code_in_a_recipe_is_not_run_unless_it_is_the_user_s_own(folder: Path) -> None:
    path = made(folder)
    model = onnx.load(path)
    told = provenance_of(model)
    for own in (
        "evil:Pass",
        "{calibrate: {activations: 'evil.module:Ranges'}}",
        "{round_weights: {solver: {'e:S': {}}}}",
    ):
        stamp(model, replace(told, recipe=f"passes: [{own}]"))
        onnx.save(model, path)
        with pytest.raises(RecipeError, match=r"runs code that is not onnxq's: e.*--own-classes"):
            reproduce(path, folder / "m.onnx", folder / "data.npz")
        with pytest.raises(RecipeError, match=r"No module named 'e"):
            reproduce(path, folder / "m.onnx", folder / "data.npz", own_classes=True)


def test_what_cannot_be_made_again_is_said(folder: Path) -> None:
    path = made(folder)
    with pytest.raises(DataError, match=r"was calibrated on 8 samples. Give the same"):
        reproduce(path, folder / "m.onnx")
    retarget(path, "openvino", options=NO_BUILD).save(folder / "r.onnx")
    told = read_provenance(folder / "r.onnx")
    assert (told.command, told.backend, told.given.seed) == ("retarget", "openvino", 0)
    with pytest.raises(ModelError, match="made by onnxq 'retarget'; only what `onnxq quantize` made"):
        reproduce(folder / "r.onnx", path, folder / "data.npz")
    for recipe in ("passes: [plann]", "3", "passes: [", "passes: 3", "extends: secret.yaml"):
        model = onnx.load(path)
        stamp(model, replace(provenance_of(model), recipe=recipe))
        onnx.save(model, folder / "w.onnx")
        with pytest.raises(OnnxqError, match="recipe"):
            reproduce(folder / "w.onnx", folder / "m.onnx", folder / "data.npz")


def test_a_metric_from_python_is_told(folder: Path) -> None:
    x = normal(8, 3, 8, 8, seed=2)
    path = made(folder, samples={"x": x}, test={"x": x, "labels": np.arange(8) % 4}, metric=Top1(), options=Options())
    found = reproduce(path, folder / "m.onnx", {"x": x})
    assert found.same and "not measured again" in found.notes[0]
