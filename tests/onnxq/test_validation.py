"""Errors of YAML are one sentence with file, field and the nearest valid one."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from onnxq.errors import RecipeError
from onnxq.validation import LIMIT, load_yaml, parse_yaml, validated


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    threshold: float = 0.5


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    size: int | tuple[int, int] = 1
    inner: Inner | None = None
    table: dict[str, Inner] = {}


@dataclass(frozen=True)
class Options:
    bits: int = 8


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "f.yaml: field 'name' is missing."),
        (
            {"name": "a", "siz": 1},
            "f.yaml: unknown field 'siz'. Did you mean 'size'? Valid: inner, name, size, table.",
        ),
        (
            {"name": "a", "inner": {"treshold": 1}},
            "f.yaml: in 'inner', unknown field 'treshold'. Did you mean 'threshold'? Valid: threshold.",
        ),
        (
            {"name": "a", "table": {"x": {"y": 1}}},
            "f.yaml: in 'table.x', unknown field 'y'. Valid: threshold.",
        ),
        (
            {"name": "a", "inner": {"threshold": "high"}},
            "f.yaml: field 'inner.threshold' is 'high' but input should be a valid number, "
            "unable to parse string as a number.",
        ),
    ],
)
def test_sentences(value: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        validated(Outer, value, "f.yaml")
    assert str(caught.value) == said


def test_a_union_says_all_it_takes_once() -> None:
    with pytest.raises(RecipeError, match=r"field 'size' is 'big' but .*integer.* or .*tuple"):
        validated(Outer, {"name": "a", "size": "big"}, "f.yaml")


def test_more_errors_are_counted() -> None:
    with pytest.raises(RecipeError, match=r"'name' is missing\. 1 more to mend"):
        validated(Outer, {"size": "big"}, "f.yaml")


def test_dataclasses_are_validated_too() -> None:
    assert validated(Options, {"bits": 4}, "r") == Options(4)
    with pytest.raises(RecipeError, match=r"r: unknown field 'bit'\. Did you mean 'bits'\?"):
        validated(Options, {"bit": 4}, "r")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "line 1: not valid YAML"),
        ("- 1", "must be a mapping"),
        ("1: 2", "must be a mapping"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("[" * 100_000, "not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("a: 2020-99-99", "not valid YAML"),
    ],
)
def test_bad_yaml(text: str, said: str) -> None:
    with pytest.raises(RecipeError, match=f"^f.yaml.*{said}"):
        parse_yaml(text, "f.yaml")


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        load_yaml(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="cannot be read: Is a directory"):
        load_yaml(tmp_path)
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(RecipeError, match="UTF-8"):
        load_yaml(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_bytes(b"#" * (LIMIT + 1))
    with pytest.raises(RecipeError, match="larger than 1 MiB"):
        load_yaml(tmp_path / "b.yaml")
