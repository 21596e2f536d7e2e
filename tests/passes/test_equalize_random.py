"""Random graphs keep their function through cross-layer equalization, which changes nothing the second time."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings

from onnxq.passes import DropIdle, EqualizeChannels, FoldBatchNorm, FoldConstants
from onnxq.proof import Proof
from onnxq.sqnr import sqnr_db
from onnxq.testing import changes_nothing, normal, run, workspace
from random_graphs import Network, networks


@pytest.mark.parametrize("per_channel", [False, True])
def test_random_networks(per_channel: bool) -> None:
    step = EqualizeChannels(per_channel=per_channel, gain_db=0.5)
    found = []

    @settings(max_examples=150, deadline=None)
    @given(networks(unlike=1.0))
    def check(network: Network) -> None:
        for backend in ("onnxruntime", "tensorrt"):
            space, x = workspace(network.model(), backend=backend), normal(3, 4, 6, 6, seed=12)
            for fold in (FoldConstants(), DropIdle(), FoldBatchNorm()):
                fold(space)
            before, proof = run(space, x=x), Proof(space.model(), space.samples)
            found.append(step(space))
            onnx.checker.check_model(space.model(), full_check=True)
            assert proof.objection(space.model(), step.tolerance) is None
            assert changes_nothing(space, step)
            after = run(space, x=x)
            assert after.keys() == before.keys()
            for name, array in before.items():
                assert sqnr_db(array, after[name]) > 70 or np.allclose(array, after[name], atol=1e-5)

    check()
    assert np.mean(found) > 0.2, np.mean(found)
