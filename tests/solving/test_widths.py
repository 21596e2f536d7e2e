"""Bits as they are written."""

from typing import Any

import pytest

from onnxq.errors import RecipeError
from onnxq.solving.widths import ALL, Widths, read_widths

ENDS = {"first": {"conv1"}, "last": {"fc", "head"}}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (None, Widths()),
        (4, Widths(default=4)),
        ({"default": 4, "first": 8, "last": 6}, Widths((("first", 8), ("last", 6)), 4)),
        ({"/head/.*": 8}, Widths((("/head/.*", 8),))),
        ({"budget": 4.5, "last": 8}, Widths((("last", 8),), budget=4.5)),
        ({"budget": 5, "widths": [8, 4, 4]}, Widths(budget=5.0, choices=(4, 8))),
    ],
)
def test_what_is_written_is_meant(written: Any, meant: Widths) -> None:
    assert Widths.of(written) == meant


def test_of_several_that_fit_the_first_written_counts() -> None:
    widths = Widths.of({"default": 4, "con": 3, "first": 8, "^fc$": 5, "last": 7})
    assert [key for key, _ in widths.fitting(["conv1"], ENDS)] == ["con", "first"]
    assert widths.fitting(["fc"], ENDS) == [("^fc$", 5), ("last", 7)]
    assert widths.fitting(["head", "conv9"], ENDS)[0] == ("con", 3)  # one weight of two layers
    assert widths.fitting(["other"], ENDS) == []


@pytest.mark.parametrize(("bits", "usual"), [(None, None), (4, 4), ({"budget": 4.5}, 4), ({"first": 8}, None)])
def test_what_most_layers_have(bits: Any, usual: int | None) -> None:
    assert Widths.of(bits).usual == usual


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("4", 4),
        ("default=4", 4),
        ("4,first=8,last=8", {"default": 4, "first": 8, "last": 8}),
        ("first=8, last=8", {"first": 8, "last": 8}),
        ("budget=4.5", {"budget": 4.5}),
        ("budget=6,widths=4/8", {"budget": 6, "widths": [4, 8]}),
        ("4,/head/[a=b]=8", {"default": 4, "/head/[a=b]": 8}),
    ],
)
def test_the_command_line(text: str, meant: object) -> None:
    assert read_widths(text) == meant
    Widths.of(read_widths(text))


@pytest.mark.parametrize("text", ["four", "first=8,", "", "budget=", "4,first=a", "widths=4+8,budget=5"])
def test_the_command_line_says_what_it_takes(text: str) -> None:
    with pytest.raises(
        RecipeError, match=r"--weight-bits: .*is no number of bits. Give 4, or 4,first=8,last=8, or budget=4"
    ):
        read_widths(text)
    with pytest.raises(RecipeError, match="--weight-bits: '4,5' says 'default' twice"):
        read_widths("4,5")


@pytest.mark.parametrize(
    ("bits", "said"),
    [
        (9, "bits: 9 is not a whole number from 2 to 8"),
        (True, "bits: True is not a whole number"),
        (4.5, "bits: 4.5 is not a whole number"),
        ({"first": 1}, "'first' is 1, not a whole number from 2 to 8"),
        ({"default": 4.5}, "'default' is 4.5, not a whole number"),
        ({"/head/": "x"}, "'/head/' is 'x', not a whole number"),
        ({"budget": 1.9}, "a budget of 1.9, and a layer may have 2 to 8 bits"),
        ({"budget": 8.5}, "a budget of 8.5, and"),
        ({"budget": float("nan")}, "a budget of nan, and"),
        ({"budget": 3, "widths": [4, 8]}, "a budget of 3, and a layer may have 4 to 8 bits"),
        ({"budget": 4, "default": 4}, "both 'default' and 'budget' .* Leave one out"),
        ({"default": 4, "widths": [4, 8]}, "there is none. Give one"),
        ({"budget": 4, "widths": 4}, "'widths' is 4, not a list"),
        ({"budget": 4, "widths": [4, 16]}, "'widths' is 16, not a whole number"),
        (
            {"defualt": 4},
            r"unknown key 'defualt'. Did you mean 'default'\?.* For a layer of that name, write '\^defualt'",
        ),
        ({"head(": 4}, "'head.' is not a regular expression on names of nodes: "),
    ],
)
def test_what_cannot_be_is_refused(bits: Any, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Widths.of(bits)


def test_every_width_there_is() -> None:
    assert ALL == (2, 3, 4, 5, 6, 7, 8)
