"""A backend is a table, a tuple and a door: what runs in integers there, how its graph must look, and the
engine that is built from it. A second backend differs by values, not by code."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

import onnx

from onnxq.backends.engine import Engine
from onnxq.errors import EngineError
from onnxq.lint.finding import Lint
from onnxq.scheme import ActivationSchemes, QParams, Scheme, Steps

if TYPE_CHECKING:
    from onnxq.workspace import Pass

Shapes = Mapping[str, Sequence[int]]


class Reads(Enum):
    """Which of a node's activations are quantized for it."""

    ALWAYS = "always"  # a linear layer: it starts an integer region
    ENCLOSED = "enclosed"  # only where its neighbours on both sides are integer too
    SKIP = "skip"  # the branch of a residual sum that does not fuse into the layer before
    ALONG = "along"  # none; but what is integer on both its sides has one grid there, so that integers pass through


@dataclass(frozen=True)
class Rule:
    """What is quantized around one operator.

    ``writes``: its output must be quantized for the engine to choose an integer kernel.
    ``gives``: its output may be quantized, and is where that completes the integers around a neighbour.
    ``same_grid``: it only moves or picks integers, so its output keeps the grid of its input.
    """

    reads: Reads
    writes: bool = False
    gives: bool = False
    same_grid: bool = False


@dataclass(frozen=True)
class Grids:
    """The grids chosen for tensors of the float model, by name, and the layers that read them as integers: by node
    name, the activations each reads."""

    activations: Mapping[str, QParams]
    weights: Mapping[str, QParams]
    layers: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class SideFile:
    """A file of grids that a target's own tools want beside the float model: what its name ends in, and its text.
    ``has_bits``: whether it says how many bits a grid has; without, the tools take 8."""

    suffix: str
    write: Callable[[Grids], str]
    has_bits: bool = True


@dataclass(frozen=True)
class LeastSize:
    """What a layer must have for integers to gain anything: ``channels`` of a Conv on either side, ``width`` of a
    matrix product (its K and its N), ``vector`` weights where the product has one row (GEMV) and so only reads them.

    The first and the last layers of a model are exempt: no other layer would have to change its integers for them.
    """

    channels: int = 0
    width: int = 0
    vector: int = 0


_I8 = Scheme(signed=True, symmetric=True)


@dataclass(frozen=True)
class LowBits:
    """How the engine takes weights of 2 and 4 bits that are packed in the file.

    ``types``: ONNX's names of those it knows;
    ``casts``: it computes a Cast of them to 8 bits when it loads the model, so that layers whose file is packed still
    run in integers, and constants of layers in float still become floats once;
    ``shifts``: its INT8 kernels take weights of few bits less a zero point for each channel (``Scheme.shifted``);
    ``grid``: of the weight of a MatMul or Gemm that computes in float and reads them packed, but for bits and axis;
    ``channels``: it reads those packed with a scale for every output channel, too;
    ``blocks``: how many rows of such a weight may share a scale, at the bits that may have blocks;
    ``ragged``: the last of the blocks may be shorter;
    ``several``: there must be more than one.
    """

    types: frozenset[str] = frozenset()
    casts: bool = False
    shifts: bool = False
    grid: Scheme = _I8
    channels: bool = True
    blocks: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    ragged: bool = False
    several: bool = False


@dataclass(frozen=True)
class Backend:
    """``rules`` by operator; ``absorbs``: activations that vanish into the quantizer behind them;
    ``refuses``: operators left in float, with the reason a user reads;
    ``per_channel``: whether a weight has a grid for every output channel, or one;
    ``products``: whether a MatMul of two activations is quantized;
    ``least``: smaller layers stay in float;
    ``cuts_projections``: a q, k, v projection that is one matrix product is cut in three, which only one scale for
    all of its weight survives as integers;
    ``floats``: the types that what stays float may have in the graph, with the operators that the engine lacks in
    each; ``fp32_reason``: why it may have no others;
    ``preparation``: float rewrites for this backend alone; ``lowering``: passes over its finished Q/DQ graph;
    ``saturates``: whether weights of 8 bits overflow on this machine, so that they get 7 (``reduce_range``);
    ``build``: the engine's door, None for a target that is only simulated;
    ``modules``: Python packages any of which is the engine, and the ``extra`` of onnxq that installs it;
    ``opens_shapes``: the engine takes shapes that change from run to run;
    ``wide``: its grids of 16 bits, None where it has none; ``wide_note``: what it makes of them, if not integers;
    ``splits_bias``: a layer is integer only if it is quantized before the Add of its bias, and behind its activation;
    ``left_constants``: whether a MatMul whose constant is its first operand is quantized;
    ``concat``: the grids of a Concat that a Conv reads, where the usual ones give wrong answers;
    ``quantized_before``: operators that read integers on the grid of their result, for the same reason;
    ``stores``: which inputs of operators that compute in float are stored as integers; ``stores_inside``: the same in
    bodies of If, Loop and Scan, whose linear layers compute in float too;
    ``fuses_min``: a Min by a vector behind a ReLU costs nothing;
    ``float8``: whether its linear layers can compute in 8-bit floats (E4M3);
    ``low_bits``: how it takes weights of fewer than 8 bits;
    ``side_file``: what the target's tools want beside the float model, if that is what they take;
    ``lints``: rules on what the engine refuses, runs in float or computes wrongly, for any quantized graph."""

    name: str
    title: str
    rules: Mapping[str, Rule]
    activation: ActivationSchemes
    weight: Scheme
    absorbs: frozenset[str] = frozenset()
    refuses: Mapping[str, str] = field(default_factory=dict)
    per_channel: bool = True
    products: bool = True
    least: LeastSize = LeastSize()
    cuts_projections: bool = False
    splits_bias: bool = False
    fuses_min: bool = False
    floats: Mapping[str, frozenset[str]] = field(default_factory=lambda: {"fp32": frozenset()})
    fp32_reason: str = ""
    preparation: tuple["Pass", ...] = ()
    left_constants: bool = True
    concat: ActivationSchemes | None = None
    quantized_before: frozenset[str] = frozenset()
    stores: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    stores_inside: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    lowering: tuple["Pass", ...] = ()
    build: Callable[[onnx.ModelProto, Shapes], Engine] | None = None
    modules: tuple[str, ...] = ()
    extra: str = ""
    opens_shapes: bool = True
    wide: ActivationSchemes | None = None
    wide_note: str = ""
    saturates: Callable[[], bool] | None = None
    float8: bool = False
    low_bits: LowBits = LowBits()
    side_file: SideFile | None = None
    lints: tuple[Lint, ...] = ()

    @property
    def simulated(self) -> bool:
        """Whether there is no engine to build: the graph is computed by onnxruntime and proves numbers only."""
        return self.build is None

    def in_float8(self) -> "Backend":
        """With grids of 8-bit floats where it has integers."""
        grid = Scheme(signed=True, symmetric=True, steps=Steps.FLOAT8)
        return replace(self, weight=grid, activation=ActivationSchemes.always(grid), stores={}, stores_inside={})

    def engine(self, model: onnx.ModelProto, shapes: Shapes) -> Engine:
        """The model as the real engine builds it for inputs of ``shapes``. Raises EngineError where there is none."""
        if self.build is None:
            raise EngineError(f"{self.title} is simulated: onnxq has no door to an engine of it.")
        return self.build(model, shapes)
