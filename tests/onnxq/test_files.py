"""A reader of a file sees all of it, or what stood there before."""

import os
from pathlib import Path

import pytest

from onnxq.errors import OutputError
from onnxq.files import check_writable, write_file, write_files


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "m.onnx"
    write_file(target, b"first")
    write_file(target, b"second")
    assert target.read_bytes() == b"second" and list(target.parent.iterdir()) == [target]
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", target / "below.onnx"):
        for attempt in (check_writable, lambda path: write_file(path, b"")):
            with pytest.raises(OutputError, match="place"):
                attempt(path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "m.onnx", "new"]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "m.onnx"
    target.write_bytes(b"old")
    for error, raised in ((OSError(28, "No space left on device"), OutputError), (KeyboardInterrupt(), BaseException)):

        def fail(self: Path, target: Path, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(raised):
            write_file(target, b"new")
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_files_that_belong_together_are_all_written_or_none(tmp_path: Path) -> None:
    one, two = tmp_path / "a.onnx", tmp_path / "a.onnx.json"
    write_files({one: b"1", two: b"2"})
    assert (one.read_bytes(), two.read_bytes()) == (b"1", b"2")
    with pytest.raises(OutputError, match=r"below\.json"):
        write_files({one: b"3", two / "below.json": b"4"})
    assert one.read_bytes() == b"1" and sorted(tmp_path.iterdir()) == [one, two]


def test_checking_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b" / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_what_is_no_file_is_never_replaced() -> None:
    with pytest.raises(OutputError, match="not a regular file"):
        check_writable(Path("/dev/null"))


def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    for name in (".a.onnx.x1.onnxq-part", ".a.onnx.x2.onnxq-part", ".b.onnx.x3.onnxq-part", ".a.onnx.bak"):
        (tmp_path / name).write_bytes(b"half")
    for name in (".a.onnx.x1.onnxq-part", ".b.onnx.x3.onnxq-part", ".a.onnx.bak"):
        os.utime(tmp_path / name, (0, 0))
    write_file(tmp_path / "a.onnx", b"whole")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".a.onnx.bak", ".a.onnx.x2.onnxq-part", ".b.onnx.x3.onnxq-part", "a.onnx"]
