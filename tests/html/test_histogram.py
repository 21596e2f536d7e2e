"""A histogram with the range drawn in."""

import re
import xml.etree.ElementTree as ElementTree

from onnxq.html.histogram import WIDTH, histogram
from onnxq.html.told import ToldActivation
from onnxq.portrait import SeenValues

GRID = ToldActivation("u8 asymmetric per tensor", 0.0, 2.0)


def drawn(seen: SeenValues, grid: ToldActivation = GRID) -> ElementTree.Element:
    return ElementTree.fromstring(histogram("t", grid, seen, "here"))


def test_the_range_chosen_is_drawn_where_it_is() -> None:
    figure = drawn(SeenValues(-2.0, 6.0, (1, 5, 5, 0, 0, 0, 0, 1), 0.25, 30.0))
    chosen = next(one for one in figure.iter("rect") if one.get("class") == "chosen")
    assert (float(chosen.attrib["x"]), float(chosen.attrib["width"])) == (WIDTH / 4, WIDTH / 4)
    ends = [float(one.attrib["x1"]) for one in figure.iter("line") if one.get("class") == "end"]
    assert ends == [WIDTH / 4, WIDTH / 2]


def test_what_is_clipped_is_drawn_otherwise() -> None:
    figure = drawn(SeenValues(-2.0, 6.0, (1, 5, 5, 0, 0, 0, 0, 1), 0.25, 30.0))
    bars = {one.get("class"): one.attrib["d"].count("M") for one in figure.iter("path")}
    assert bars == {"held": 1, "cut": 3}
    caption = "".join(figure.itertext())
    assert "25.00 % clipped" in caption and "SQNR 30.0 dB" in caption


def test_a_constant_and_a_grid_far_wider_are_drawn() -> None:
    assert drawn(SeenValues(1.0, 1.0, (7,) + (0,) * 63)) is not None
    figure = drawn(SeenValues(0.0, 1e-3, (3, 4)), ToldActivation("i8", -1e3, 1e3))
    numbers = [float(n) for one in figure.iter("path") for n in re.findall(r"-?[\d.]+", one.attrib["d"])]
    assert all(-200 <= number <= WIDTH + 1 for number in numbers)
