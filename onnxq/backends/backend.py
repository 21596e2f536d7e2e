"""A backend is a table, a tuple and a door: what runs in integers there, how its graph must look, and the
engine that is built from it. A second backend differs by values, not by code."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

import onnx

from onnxq.backends.engine import Engine
from onnxq.lint.finding import Lint
from onnxq.scheme import ActivationSchemes, Scheme

if TYPE_CHECKING:
    from onnxq.workspace import Pass

Shapes = Mapping[str, Sequence[int]]


class Reads(Enum):
    """Which of a node's activations are quantized for it."""

    ALWAYS = "always"  # a linear layer: it starts an integer region
    ENCLOSED = "enclosed"  # only where its neighbours on both sides are integer too
    AVAILABLE = "available"  # where the tensor is quantized for another reader anyway
    SKIP = "skip"  # the branch of a residual sum that does not fuse into the layer before


@dataclass(frozen=True)
class Rule:
    """What is quantized around one operator.

    ``writes``: its output must be quantized for the engine to choose an integer kernel.
    ``same_grid``: it only moves or picks integers, so its output keeps the grid of its input.
    """

    reads: Reads
    writes: bool = False
    same_grid: bool = False


@dataclass(frozen=True)
class Backend:
    """``modules``: Python packages any of which is the engine, and the ``extra`` of onnxq that installs it;
    ``rules`` by operator; ``absorbs``: activations that vanish into the quantizer behind them;
    ``refuses``: operators left in float, with the reason a user reads;
    ``products``: whether a MatMul of two activations is quantized;
    ``depthwise``: whether a convolution of one input channel a group is quantized;
    ``opens_shapes``: the engine takes shapes that change from run to run;
    ``splits_bias``: a MatMul is integer only if it is quantized before the Add of its bias;
    ``lints``: rules on what the engine refuses, runs in float or computes wrongly, for any quantized graph."""

    name: str
    title: str
    modules: tuple[str, ...]
    extra: str
    rules: Mapping[str, Rule]
    activation: ActivationSchemes
    weight: Scheme
    build: Callable[[onnx.ModelProto, Shapes], Engine]
    absorbs: frozenset[str] = frozenset()
    refuses: Mapping[str, str] = field(default_factory=dict)
    products: bool = True
    depthwise: bool = True
    splits_bias: bool = False
    opens_shapes: bool = True
    lowering: tuple["Pass", ...] = ()
    lints: tuple[Lint, ...] = ()
