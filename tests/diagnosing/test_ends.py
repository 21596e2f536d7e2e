"""What outputs are joined of."""

import numpy as np

from onnxq.diagnosing.ends import ends, showing
from onnxq.testing import parse


def test_heads_joined_by_concats_and_moved() -> None:
    model = parse(
        """g (float[N,4,2,2] x) => (float[N,A,B] y)
        { a = Relu(x) b = Sigmoid(x) c = Neg(x) p = Concat<axis = 1>(a, b) fp = Flatten<axis = 2>(p)
          fc = Flatten<axis = 2>(c) j = Concat<axis = 0>(fp, fc) y = Transpose(j) }""",
        13,
    )
    assert ends(model) == ("a", "b", "fc")
    assert {value.name for value in showing(model, ends(model)).graph.output} == {"y", "a", "b", "fc"}


def test_what_is_computed_behind_a_concat_is_an_end() -> None:
    model = parse("g (float[N,4] x) => (float[N,8] y) { a = Relu(x) j = Concat<axis = 1>(a, x) y = Exp(j) }", 13)
    assert ends(model) == ("y",)


def test_inputs_and_constants_are_none() -> None:
    text = "g (float[2,4] x) => (float[2,12] y, float[2,4] z) { z = Relu(x) y = Concat<axis = 1>(x, z, c) }"
    assert ends(parse(text, 13, c=np.zeros((2, 4), np.float32))) == ("z",)
