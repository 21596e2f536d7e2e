"""A depfile is what Make reads, whatever the names are."""

import subprocess
from pathlib import Path

import pytest

from onnxq.caching.depfile import depfile


def test_as_gcc_writes_it() -> None:
    found = depfile([Path("a.onnx"), Path("b.onnx")], [Path("m.onnx"), Path("my data/x.npz")])
    assert found == "a.onnx b.onnx: \\\n  m.onnx \\\n  my\\ data/x.npz\nm.onnx:\nmy\\ data/x.npz:\n"


@pytest.mark.parametrize("name", ["plain", "with space", "with$dollar", "with#hash", "ünïcödé"])
def test_make_understands_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    (tmp_path / "out.d").write_text(depfile([Path("out")], [Path(name)]))
    (tmp_path / "Makefile").write_text("out:\n\t@touch out; echo made\ninclude out.d\n")

    def make() -> str:
        return subprocess.run(["make", "-s"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert make() == "made\n"
    assert make() == ""
    (tmp_path / name).unlink()
    assert make() == "made\n"  # gone, and no error
