"""Random graphs keep their function through all exact folds, each of which changes nothing the second time."""

import numpy as np
import onnx
from hypothesis import given, settings

from onnxq.passes import DropIdle, FoldBatchNorm, FoldConstants, FoldGemmFactors, FoldScale, FusePad, MergeSlices
from onnxq.sqnr import sqnr_db
from onnxq.testing import changes_nothing, normal, run, workspace
from random_graphs import Network, networks

STEPS = (FoldConstants(), DropIdle(), MergeSlices(), FusePad(), FoldBatchNorm(), FoldScale(), FoldGemmFactors())


@settings(max_examples=120, deadline=None)
@given(networks())
def test_random_networks(network: Network) -> None:
    space, x = workspace(network.model()), normal(3, 4, 6, 6, seed=12)
    before = run(space, x=x)
    for step in STEPS:
        step(space)
        assert changes_nothing(space, step)
    assert not any(step(space) for step in STEPS)
    onnx.checker.check_model(space.model(), full_check=True)
    after = run(space, x=x)
    assert after.keys() == before.keys()
    for name, array in before.items():
        assert sqnr_db(array, after[name]) > 90 or np.allclose(array, after[name], atol=1e-5)
    assert "BatchNormalization" not in [node.op for node in space.graph.nodes]
