"""The outputs of two sides beside each other."""

import numpy as np
import pytest

from onnxq.comparing.rows import Gates, table
from onnxq.comparing.sides import Side
from onnxq.errors import DataError
from onnxq.inputs import Array
from onnxq.testing import normal


def side(name: str, *iterations: dict[str, Array]) -> Side:
    return Side(name, iterations)


def test_figures_are_the_worst_of_all_runs() -> None:
    x = normal(4, 10)
    first = side("a", {"y": x}, {"y": 2 * x})
    second = side("b", {"y": x + 0.1}, {"y": 2 * x + 0.01})
    (row,) = table(first, second).rows
    assert row.sqnr_db == pytest.approx(10 * np.log10(np.sum(x**2) / (0.01 * x.size)), abs=0.01)
    assert row.max_error == pytest.approx(0.1, abs=1e-6) and row.missed == ()
    cosine = np.sum(x * (x + 0.1)) / np.linalg.norm(x) / np.linalg.norm(x + 0.1)
    assert row.cosine == pytest.approx(cosine, abs=1e-6)


def test_a_gate_that_is_missed_is_told() -> None:
    x = normal(4, 10)
    first, second = side("a", {"y": x, "z": x}), side("b", {"y": x + 0.1, "z": x + 1e-4})
    rows = {row.output: row.missed for row in table(first, second, Gates(min_sqnr=30, min_cosine=0.9999)).rows}
    assert rows["z"] == ()
    assert [said.rpartition(" ")[2] for said in rows["y"]] == ["(--min-sqnr)", "(--min-cosine)"]
    assert table(first, second, Gates(min_sqnr=15)).rows[0].missed == ()


def test_nan_misses_every_gate() -> None:
    (row,) = table(side("a", {"y": np.ones(3, np.float32)}), side("b", {"y": np.full(3, np.nan, np.float32)})).rows
    assert row.missed == ()
    bad = side("b", {"y": np.full(3, np.nan, np.float32)})
    (row,) = table(side("a", {"y": np.ones(3, np.float32)}), bad, Gates(0.0, 0.0)).rows
    assert len(row.missed) == 2


def test_integers_have_no_signal() -> None:
    (row,) = table(side("a", {"y": np.array([1, 5])}), side("b", {"y": np.array([1, 2])})).rows
    assert (row.sqnr_db, row.cosine, row.max_error) == (None, None, 3.0)


def test_what_is_not_compared_is_told() -> None:
    first = side("a", {"y": normal(2, 3), "only": normal(2), "s": normal(2, 2)})
    second = side("b", {"y": normal(2, 3), "s": normal(2, 4), "extra": normal(1)})
    found = table(first, second)
    assert [row.output for row in found.rows] == ["y"]
    assert found.left_out == ("extra: only b has it", "only: only a has it", "s: [2, 2] of a, [2, 4] of b")
    with pytest.raises(DataError, match=r"no output to compare: y: only a has it"):
        table(side("a", {"y": normal(2)}), side("b", {}))
    with pytest.raises(DataError, match="a has 1 iterations and b has 2"):
        table(side("a", {"y": normal(2)}), side("b", {"y": normal(2)}, {"y": normal(2)}))
