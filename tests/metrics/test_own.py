"""The user's own metric, from a script."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onnxq.errors import DataError
from onnxq.metrics.metric import Known
from onnxq.metrics.own import Own

SCRIPT = """
import numpy as np

def mean(outputs, labels):
    return np.mean(outputs["y"] == labels)
mean.unit = "share"

def beside(outputs, labels, reference):
    assert labels is None
    return float(abs(outputs["y"] - reference["y"]).max())

def wrong(outputs, labels):
    return outputs["y"]

def broken(outputs, labels):
    return outputs["z"]
"""
ONE = {"y": np.array([1.0, 2, 3])}


@pytest.fixture
def own(tmp_path: Path) -> Callable[[str], Own]:
    (tmp_path / "mine.py").write_text(SCRIPT)
    return lambda name: Own.of(f"{tmp_path / 'mine.py'}:{name}")


def test_it_is_given_everything_at_once(own: Callable[[str], Own]) -> None:
    mean, beside = own("mean"), own("beside")
    assert (mean.name, mean.unit, mean.compares) == ("mean", "share", False)
    assert mean.total([mean.part(ONE, Known(3, np.array([1, 2, 0]))), mean.part(ONE, Known(3, np.arange(3)))]) == 2 / 6
    assert (beside.unit, beside.compares) == ("", True)
    assert beside.total([beside.part(ONE, Known(3, None, {"y": np.zeros(3)}))]) == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [("wrong", "one number is wanted"), ("broken", r"failed with KeyError: 'z' \(mine.py, line 16\)")],
)
def test_what_it_does_wrong_is_said(own: Callable[[str], Own], name: str, said: str) -> None:
    metric = own(name)
    with pytest.raises(DataError, match=said):
        metric.total([metric.part(ONE, Known(3, np.arange(3)))])


def test_a_function_that_is_not_there(own: Callable[[str], Own]) -> None:
    with pytest.raises(DataError, match=r"unknown function 'men'\. Did you mean 'mean'\?"):
        own("men")
