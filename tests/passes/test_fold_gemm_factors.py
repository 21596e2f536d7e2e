"""Factors of a Gemm become part of its constants."""

import numpy as np
import pytest

from onnxq.passes import FoldGemmFactors
from onnxq.testing import changes_nothing, normal, parse, run, workspace

X = normal(3, 8)


@pytest.mark.parametrize(
    "attrs",
    ["alpha=0.5, beta=2.0", "alpha=-3.0", "beta=0.25", "beta=0.0", "alpha=2.0, transB=1", "alpha=1.0, beta=1.0"],
)
def test_a_gemm_without_factors_computes_the_same(attrs: str) -> None:
    w = normal(5, 8) if "transB" in attrs else normal(8, 5)
    space = workspace(parse(f"g (float[N,8] x) => (float[N,5] y) {{ y = Gemm<{attrs}>(x, w, b) }}", w=w, b=normal(5)))
    assert FoldGemmFactors()(space) == (attrs != "alpha=1.0, beta=1.0")
    (gemm,) = space.graph.nodes
    assert not {"alpha", "beta"} & {name for name, value in gemm.attrs.items() if value != 1}
    np.testing.assert_allclose(run(space, x=X)["y"], run(space.source, x=X)["y"], atol=1e-5)
    assert changes_nothing(space, FoldGemmFactors())


def test_a_weight_that_another_layer_reads_keeps_its_values() -> None:
    space = workspace(
        parse("g (float[N,8] x) => (float[N,8] y) { a = Gemm<alpha=0.5>(x, w) y = Gemm(a, w) }", w=normal(8, 8))
    )
    assert FoldGemmFactors()(space)
    np.testing.assert_allclose(run(space, x=X)["y"], run(space.source, x=X)["y"], atol=1e-5)


def test_a_factor_of_what_is_computed_stays() -> None:
    space = workspace(parse("g (float[N,8] x, float[8,5] w) => (float[N,5] y) { y = Gemm<alpha=0.5>(x, w) }"))
    assert changes_nothing(space, FoldGemmFactors())
    assert "computed at run time" in space.ledger.of("declined")[0].reason
