"""How onnxq and its peers are asked for the same calibrator."""

from collections.abc import Mapping, Sequence

from quantizers import Quantizer

ONNXQ, PLAIN = "onnxq", "onnxq, plain recipe"
FOLDS = (
    "fold_constants",
    "drop_idle",
    "merge_slices",
    "fuse_pad",
    "fold_batch_norm",
    "fold_scale",
    "fold_gemm_factors",
)


def ours(calibrator: str) -> tuple[Quantizer, Quantizer]:
    """The default recipe, and one that does what the peers do."""
    passes = [*FOLDS, "plan", {"calibrate": {"activations": calibrator}}, "round_weights", "insert_qdq"]
    return (
        Quantizer(ONNXQ, "onnxq", {"calibrator": calibrator}),
        Quantizer(PLAIN, "onnxq", {"recipe": {"passes": passes}}),
    )


def onnxsim(calibrator: str) -> tuple[Quantizer, Quantizer]:
    """Its two flows. The first leaves in float whatever is no layer's input."""
    return (
        Quantizer("onnxsim, layers' inputs", "onnxsim", {"calibrator": calibrator}),
        Quantizer("onnxsim, every tensor", "onnxsim", {"calibrator": calibrator, "every_tensor": True}),
    )


PEERS: Mapping[str, Sequence[Quantizer]] = {
    "minmax": (
        Quantizer("onnxruntime", "onnxruntime", {"calibrator": "MinMax"}),
        Quantizer("nncf, biases kept", "nncf", {"calibrator": "MINMAX", "correct_biases": False}),
        *onnxsim("minmax"),
        Quantizer("aimet", "aimet_onnx", {"calibrator": "min_max"}),
    ),
    "percentile": (
        Quantizer("onnxruntime", "onnxruntime", {"calibrator": "Percentile"}, batch=1),
        *onnxsim("percentile"),
    ),
    "entropy": (
        Quantizer("onnxruntime", "onnxruntime", {"calibrator": "Entropy"}, batch=1),
        *onnxsim("entropy"),
    ),
    "mse": (
        *onnxsim("mse"),
        Quantizer("aimet, tf-enhanced", "aimet_onnx", {"calibrator": "post_training_tf_enhanced"}),
    ),
    "mean_minmax": (
        Quantizer("nncf", "nncf"),
        Quantizer("nncf, biases kept", "nncf", {"correct_biases": False}),
    ),
}
