"""What is connected has one least number."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onnxq.components import components


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_components(count: int, edges: list[tuple[int, int]]) -> None:
    edges = [(a % count, b % count) for a, b in edges]
    parts = [{number} for number in range(count)]
    for a, b in edges:
        one, other = (next(part for part in parts if number in part) for number in (a, b))
        if one is not other:
            parts = [part for part in parts if part is not one and part is not other] + [one | other]
    pairs = [(np.array([a]), np.array([b])) for a, b in edges]
    found = components(count, pairs)
    assert all(found[number] == min(part) for part in parts for number in part)


def test_one_number_with_many() -> None:
    assert components(6, [(np.array([4]), np.array([5, 1, 3]))]).tolist() == [0, 1, 2, 1, 1, 1]


def test_a_long_chain() -> None:
    ahead = np.arange(10_000)
    assert not components(10_001, [(ahead, ahead + 1)]).any()
