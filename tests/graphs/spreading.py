"""Any factors whatever, multiplied into the channels of every region of a graph: the function must stay."""

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.channel_factor import multiply
from onnxq.channel_flow import Region, regions
from onnxq.workspace import Workspace


def spread(space: Workspace, like_relu: Callable[[gs.Node], bool] = lambda clip: False, seed: int = 0) -> list[Region]:
    """Multiply every free channel by a factor between 1/8 and 8; the regions."""
    random, found = np.random.default_rng(seed), regions(space.graph, like_relu)
    for region in found:
        factor = np.where(region.fixed, 1, np.exp2(random.uniform(-3, 3, region.count)))
        multiply(space, region, factor)
    return found
