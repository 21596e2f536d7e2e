"""A file of ranges is told by its suffix and its first line, or refused."""

from pathlib import Path

import pytest

from onnxq.errors import DataError, OutputError
from onnxq.ranges.range_file import LIMIT, read_ranges, write_ranges
from onnxq.scheme import Range

RANGES = {"x": Range.of(-1, 2)}


@pytest.mark.parametrize(("suffix", "low"), [(".json", -1), (".cache", -2)])
def test_what_is_written_is_read(tmp_path: Path, suffix: str, low: float) -> None:
    write_ranges(tmp_path / f"a{suffix}", RANGES)
    (found,) = read_ranges(tmp_path / f"a{suffix}").values()
    assert float(found.low) == pytest.approx(low, rel=1e-6) and float(found.high) == pytest.approx(2, rel=1e-6)


def test_the_content_tells_what_the_suffix_does_not(tmp_path: Path) -> None:
    for content in ('{"x": [-1, 1]}', "TRT-8601-MinMaxCalibration\nx: 3c010204", "x 1.0"):
        (tmp_path / "a.txt").write_text(content)
        assert float(read_ranges(tmp_path / "a.txt")["x"].high) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize(("content", "said"), [(b"", "is empty"), (b"\xff\xfe\x00", "is not text"), (b"x", "line 1")])
def test_other_files_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.cache").write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_ranges(tmp_path / "a.cache")


def test_no_file_a_folder_and_a_huge_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_ranges(tmp_path / "no.cache")
    with pytest.raises(DataError, match="cannot be read"):
        read_ranges(tmp_path)
    with (tmp_path / "huge.json").open("wb") as huge:
        huge.truncate(LIMIT + 1)
    with pytest.raises(DataError, match="larger than 64 MiB"):
        read_ranges(tmp_path / "huge.json")


def test_another_suffix_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"written as \.cache"):
        write_ranges(tmp_path / "a.txt", RANGES)
