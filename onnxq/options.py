"""What a user may ask of ``quantize`` beside the model, the samples and the backends."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnxq.errors import RecipeError
from onnxq.passes import (
    BalanceActivations,
    Calibrate,
    CastFloat,
    EqualizeChannels,
    InsertQdq,
    PlanIntegers,
    RoundWeights,
)
from onnxq.planning.activation_bits import activation_widths
from onnxq.preprocess import Preprocessing
from onnxq.recipe import Recipe
from onnxq.solving.widths import Bits, Widths
from onnxq.validation import validated

if TYPE_CHECKING:
    from distributed import Client

    from onnxq.caching.store import Store


@dataclass(frozen=True)
class Options:
    """None and empty mean: as the recipe says.

    ``samples``: use the first N; ``batch``: samples per run, chosen by weight if None; ``per_tensor``: one scale per
    weight; ``weight_bits``: 2 to 8, or for each layer as ``solving.widths`` has it; ``activation_bits``: 2 to 8, or 16,
    of what layers read, or by layer as the pass ``plan`` has it; ``solver``: of weights, by name; ``block_size``: how
    many rows of a weight may share a scale where its layer computes in float; ``pack``: whether weights of up to 4 bits
    are packed in the file, ``auto``, ``always`` or ``never``; ``weights_only``: no activation becomes integer, and
    weights have 4 bits in blocks of 32 rows unless it is said otherwise; ``numbers``: int8, or fp8 (TensorRT only);
    ``exclude``: regular expressions on node names; ``keep_float``: operators;
    ``float_type``: fp32, fp16 or bf16, what stays float computes in (TensorRT only);
    ``reduce_range``: weights of 7 bits for CPUs that sum u8 x s8 products in 16 bits, None as this CPU needs;
    ``ranges``: a file of ranges that are taken as they are; ``export_ranges``: whether results have them to give away;
    ``seed``: of random data; ``build``: whether engines are built, timed and judged, or only graphs made;
    ``cluster``: the address of a Dask scheduler whose workers calibrate, or a client of one; ``statistics``: a file
    of what was measured on these samples before, which is not measured again; ``portrayed``: whether results have what
    a report draws of each tensor: a small histogram, and the error of its integers; ``cache``: a folder where what is
    measured is kept, and found again by the content of model and samples.
    """

    calibrator: str | None = None
    samples: int | None = None
    batch: int | None = None
    per_tensor: bool = False
    weight_bits: Bits | None = None
    block_size: int | None = None
    pack: str | None = None
    weights_only: bool = False
    numbers: str | None = None
    exclude: tuple[str, ...] = ()
    keep_float: tuple[str, ...] = ()
    seed: int = 0
    build: bool = True
    preprocessing: Preprocessing | None = None
    float_type: str | None = None
    reduce_range: bool | None = None
    ranges: str | Path | None = None
    export_ranges: bool = False
    cluster: "str | Client | None" = None
    statistics: str | Path | None = None
    activation_bits: Bits | None = None
    solver: str | None = None
    portrayed: bool = False
    cache: "str | Path | Store | None" = None

    def __post_init__(self) -> None:
        for name in ("samples", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RecipeError(f"{name}: {value} is less than 1 (--{name}).")
        for name in ("exclude", "keep_float"):
            if isinstance(getattr(self, name), str):  # a tuple of its letters, to Python
                raise RecipeError(f"{name}: {getattr(self, name)!r} is a string; give a tuple of them.")
        activation_widths(self.activation_bits)
        try:
            Widths.of(self.weight_bits)
        except RecipeError as error:
            raise RecipeError(f"weight_{str(error).removesuffix('.')} (--weight-bits).") from error

    def applied(self, recipe: Recipe) -> Recipe:
        """The recipe with what was asked for in place of its own options."""
        if self.calibrator is not None:
            recipe = recipe.changed(Calibrate, activations=self.calibrator, percentile=None)
        if self.ranges is not None:
            recipe = recipe.changed(Calibrate, ranges=str(self.ranges))
        if self.per_tensor:
            recipe = _told(recipe.changed(RoundWeights, per_channel=False), per_channel=False)
        if self.weights_only:
            recipe = _of_weights_only(recipe, self)
        if self.weight_bits is not None:
            bits = dict(self.weight_bits) if isinstance(self.weight_bits, Mapping) else self.weight_bits
            recipe = _told(recipe.changed(RoundWeights, bits=bits), bits=Widths.of(bits).usual)
        if self.block_size is not None:
            recipe = _changed(recipe, RoundWeights, "--block-size", block_size=self.block_size)
        if self.pack is not None:
            recipe = _changed(recipe, InsertQdq, "--pack", packed=self.pack)
        if self.numbers is not None:
            recipe = _changed(recipe, PlanIntegers, "--numbers", numbers=self.numbers)
        if self.solver is not None:
            recipe = recipe.changed(RoundWeights, solver=self.solver)
            recipe = _told(recipe, solved=RoundWeights(solver=self.solver).solves)
        if self.activation_bits is not None:
            given = dict(self.activation_bits) if isinstance(self.activation_bits, Mapping) else self.activation_bits
            usual = activation_widths(given).default
            recipe = _told(recipe.changed(PlanIntegers, activation_bits=given), activation_bits=usual)
        if self.exclude or self.keep_float:
            plan = next((step for step in recipe.passes if isinstance(step, PlanIntegers)), PlanIntegers())
            recipe = recipe.changed(
                PlanIntegers,
                exclude=(*plan.exclude, *self.exclude),
                keep_float=(*plan.keep_float, *self.keep_float),
            )
        if self.float_type is not None:
            others = tuple(step for step in recipe.passes if not isinstance(step, CastFloat))
            recipe = replace(recipe, passes=(*others, validated(CastFloat, {"to": self.float_type}, "--float")))
        return recipe


def _of_weights_only(recipe: Recipe, options: Options) -> Recipe:
    """The recipe without what serves activations alone, and with weights of few bits in blocks."""
    kept = tuple(step for step in recipe.passes if not isinstance(step, BalanceActivations | EqualizeChannels))
    recipe = replace(recipe, passes=kept).changed(PlanIntegers, activations=False)
    bits = 4 if options.weight_bits is None else options.weight_bits
    few = (Widths.of(bits).usual or 4) <= 4
    return recipe.changed(RoundWeights, bits=bits, block_size=32 if few else None)


def _changed(
    recipe: Recipe, kind: type[RoundWeights] | type[InsertQdq] | type[PlanIntegers], said: str, **options: object
) -> Recipe:
    """As ``Recipe.changed``, of options that have to be looked at first."""
    validated(kind, options, said)
    return recipe.changed(kind, **options)


def _told(recipe: Recipe, **options: object) -> Recipe:
    """What weights and activations will be like is told to the passes, if any, that weigh them against each other."""
    for kind in (EqualizeChannels, BalanceActivations):
        known = {name: value for name, value in options.items() if name in kind.__dataclass_fields__}
        if known and any(isinstance(step, kind) for step in recipe.passes):
            recipe = recipe.changed(kind, **known)
    return recipe
