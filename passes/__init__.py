"""Rewrites, one per file, by the name recipes call them."""

from onnxq.passes.absorb_high_bias import AbsorbHighBias
from onnxq.passes.balance_activations import BalanceActivations
from onnxq.passes.calibrate import Calibrate
from onnxq.passes.cast_float import CastFloat
from onnxq.passes.correct_bias import CorrectBias
from onnxq.passes.drop_idle import DropIdle
from onnxq.passes.equalize_channels import EqualizeChannels
from onnxq.passes.fold_batch_norm import FoldBatchNorm
from onnxq.passes.fold_constants import FoldConstants
from onnxq.passes.fold_gemm_factors import FoldGemmFactors
from onnxq.passes.fold_scale import FoldScale
from onnxq.passes.fuse_pad import FusePad
from onnxq.passes.insert_qdq import InsertQdq
from onnxq.passes.merge_slices import MergeSlices
from onnxq.passes.plan import PlanIntegers
from onnxq.passes.round_weights import RoundWeights
from onnxq.workspace import Pass

PASSES: dict[str, type[Pass]] = {
    entry.name: entry
    for entry in (
        FoldConstants,
        DropIdle,
        MergeSlices,
        FusePad,
        FoldBatchNorm,
        FoldScale,
        FoldGemmFactors,
        EqualizeChannels,
        AbsorbHighBias,
        BalanceActivations,
        PlanIntegers,
        Calibrate,
        RoundWeights,
        CorrectBias,
        InsertQdq,
        CastFloat,
    )
}

__all__ = [
    "PASSES",
    "AbsorbHighBias",
    "BalanceActivations",
    "Calibrate",
    "CastFloat",
    "CorrectBias",
    "DropIdle",
    "EqualizeChannels",
    "FoldBatchNorm",
    "FoldConstants",
    "FoldGemmFactors",
    "FoldScale",
    "FusePad",
    "InsertQdq",
    "MergeSlices",
    "PlanIntegers",
    "RoundWeights",
]
