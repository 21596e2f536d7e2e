"""A key is another one where anything that decides is another, and only there."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from onnxq.caching import environment
from onnxq.caching.request import Request

ASKED: Mapping[str, object] = {"model": "m.onnx", "data": "d.npz", "recipe": None, "backend": ["openvino"], "out": None}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(b"model")
    Path("w.bin").write_bytes(b"weights")
    Path("d.npz").write_bytes(b"data")
    Path("folder").mkdir()
    for name in ("a.npy", "b.npy", ".hidden"):
        Path("folder", name).write_bytes(b"1")
    return tmp_path


def key(**asked: object) -> str:
    return Request({**ASKED, **asked}).key


def test_names_and_places_do_not_count(here: Path) -> None:
    before = key()
    shutil.copy("m.onnx", "other.onnx")
    assert key(model="other.onnx") == key(model=str(here / "m.onnx")) == key(out="x.onnx", quiet=True) == before


@pytest.mark.parametrize("name", ["m.onnx", "d.npz"])
def test_content_counts(here: Path, name: str) -> None:
    before = key()
    Path(name).write_bytes(b"changed")
    assert key() != before


def test_options_count(here: Path) -> None:
    found = {key(), key(backend=["onnxruntime"]), key(seed=1), key(data="random"), key(recipe="default")}
    assert len(found) == 5


def test_every_file_of_a_folder_counts(here: Path) -> None:
    before = key(data="folder")
    Path("folder/.hidden").write_bytes(b"2")
    assert key(data="folder") == before
    Path("folder/b.npy").rename("folder/c.npy")
    renamed = key(data="folder")
    Path("folder/c.npy").write_bytes(b"2")
    assert len({before, renamed, key(data="folder")}) == 3


def test_what_a_file_names_counts(here: Path) -> None:
    further = Request(ASKED).further([("model", here / "w.bin"), ("model", here / "m.onnx")])
    assert further == (("model", "w.bin"),)
    before = Request(ASKED).key_with(further)
    assert Request(ASKED).key_with(further) == before
    Path("w.bin").write_bytes(b"other")
    changed = Request(ASKED).key_with(further)
    Path("w.bin").unlink()
    assert len({before, changed, Request(ASKED).key_with(further)}) == 3


@pytest.mark.parametrize("part", ["own_code", "packages", "machine"])
def test_the_environment_counts(here: Path, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    monkeypatch.setattr(environment, part, lambda: "another")
    environment.environment.cache_clear()
    try:
        assert key() != before
    finally:
        environment.environment.cache_clear()


def test_versions_are_those_of_the_packages() -> None:
    from importlib.metadata import version

    found = environment.packages()
    assert {name: version(name) for name in found} == found
    assert {"numpy", "onnx", "onnxruntime"} <= found.keys()


def test_a_change_while_it_runs_is_seen(here: Path) -> None:
    request = Request({**ASKED, "data": "folder"})
    assert request.key
    assert request.hashed.unchanged()
    np.save("folder/d.npy", np.zeros(3))
    assert not request.hashed.unchanged()


def test_all_files_are_told(here: Path) -> None:
    request = Request({**ASKED, "data": "folder"})
    found = [str(path) for path in request.files((("model", "w.bin"),))]
    assert found == ["m.onnx", "folder", "folder/a.npy", "folder/b.npy", "w.bin"]
