"""Which rule holds for which engine, with what it does there. Measured with onnxruntime 1.31.1, OpenVINO 2026.4.1 and
TensorRT-RTX 1.7.1, on a CPU with AVX512-VNNI and without AMX."""

from onnxq.lint.activations import (
    IntegerType,
    PerChannelActivation,
    ScaleAtRunTime,
    ScaleNotPositive,
    asymmetric,
    int8_before_move,
    missing_zero_point,
    relu_not_absorbed,
    signed_branch,
    unsigned,
)
from onnxq.lint.bias import bias_grid, float_bias_of_gemm, int32_bias
from onnxq.lint.finding import Lint
from onnxq.lint.operators import (
    INTEGER_OPERATORS,
    BothSides,
    FloatOperator,
    IntegerOperators,
    NoConvTranspose,
    asymmetric_product,
    misread_qlinear_conv,
    slow_signed_kernels,
)
from onnxq.lint.placement import HalfQuantized, OutputNeeded, matmul_add
from onnxq.lint.weights import FLOAT8, BlockedInt8, Int4, WeightAxis, WeightGrid, clipped_weights
from onnxq.lint.wrong import clipping_dropped, maximum_before_quantizer, mean_over_tokens, signed_concat, thin_mlp

_INT16 = frozenset({"int16", "uint16"})
_ORT_CARRIES = frozenset({"Dropout", "Expand", "Identity", "MaxPool", "Pad", "Reshape", "Slice"}) | {
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}
_TRT_CARRIES = _ORT_CARRIES | {"Concat", "Flatten", "Gather", "GlobalMaxPool", "ReduceMax", "Split"}
_OV_CARRIES = _TRT_CARRIES | {"AveragePool", "DepthToSpace", "Mul", "Resize", "SpaceToDepth"}

ONNXRUNTIME: tuple[Lint, ...] = (
    IntegerType(
        _INT16, "float", "onnxruntime's kernels for Conv, Gemm and MatMul take 8 bits; the layer runs in float."
    ),
    IntegerType(
        FLOAT8,
        "rejected",
        "onnxruntime puts it into kernels for integers, and then refuses its own graph.",
        weights=True,
    ),
    PerChannelActivation(),
    ScaleNotPositive("wrong", "onnxruntime's fused kernels and its plain ones then disagree.", everywhere=False),
    ScaleAtRunTime("float", "onnxruntime builds scales into its kernels, and leaves the layer in float."),
    relu_not_absorbed,
    signed_branch,
    int8_before_move,
    WeightGrid("slow", "onnxruntime's kernel for uint8 by uint8 is no faster than its float one.", unsigned_only=True),
    WeightAxis(taken_wrongly=frozenset({"Conv", "MatMul"})),
    BlockedInt8("onnxruntime unpacks them to floats, or fails when a MatMul of integers runs.", fails=True),
    Int4("onnxruntime multiplies them by floats, which was slower than float weights."),
    bias_grid,
    float_bias_of_gemm,
    HalfQuantized(_ORT_CARRIES, "onnxruntime", rounds_weights=True),
    OutputNeeded(_ORT_CARRIES),
    matmul_add,
    NoConvTranspose(
        "onnxruntime has no integer ConvTranspose: it runs in float, between conversions.",
        "Take its Q/DQ away, or use Resize and Conv.",
    ),
    BothSides(
        {
            **dict.fromkeys(("Add", "Concat"), None),
            **dict.fromkeys(("AveragePool", "GlobalAveragePool", "Resize", "Split"), 1),
        },
        "onnxruntime",
    ),
    slow_signed_kernels,
    IntegerOperators(
        frozenset({"ConvInteger"}),
        "slow",
        "onnxruntime's kernel for dynamically quantized convolutions is far slower than its float one.",
        "Quantize statically, with Q/DQ nodes; keep dynamic quantization for MatMul.",
    ),
)

OPENVINO: tuple[Lint, ...] = (
    IntegerType(_INT16, "float", "OpenVINO's kernels take 8 bits; the Q/DQ disappear and the layer runs in float."),
    clipping_dropped,
    IntegerType(FLOAT8, "slow", "emulated on the CPU, several times slower than float.", weights=True),
    PerChannelActivation(depthwise=True),
    ScaleNotPositive("wrong", "OpenVINO computes something else than ONNX says.", everywhere=False),
    ScaleAtRunTime("float", "OpenVINO builds scales into its kernels, and leaves the layer in float."),
    WeightGrid("float", "OpenVINO's kernels subtract no zero point from weights; the layer runs in float."),
    WeightAxis(),
    clipped_weights,
    BlockedInt8("OpenVINO unpacks them to floats."),
    Int4("OpenVINO unpacks them to floats: smaller, not faster."),
    HalfQuantized(_OV_CARRIES, "OpenVINO"),
    NoConvTranspose(
        "OpenVINO's integer ConvTranspose takes symmetric int8 only; this one runs in float.",
        "Quantize its input to int8 with zero point 0.",
        asymmetric_only=True,
    ),
    asymmetric_product,
    misread_qlinear_conv,
    IntegerOperators(
        frozenset({"QAttention", "QGemm", "QLinearGlobalAveragePool"}),
        "rejected",
        "onnxruntime's own operator, which OpenVINO does not know.",
        "Write the model with Q/DQ nodes: `onnxq retarget`, or quantize with quant_format=QDQ.",
    ),
    IntegerOperators(
        frozenset({"ConvInteger", "MatMulInteger"}),
        "float",
        "OpenVINO computes dynamic quantization in float.",
        "Quantize statically, with Q/DQ nodes.",
    ),
    signed_concat,
    maximum_before_quantizer,
    mean_over_tokens,
    thin_mlp,
)

TENSORRT: tuple[Lint, ...] = (
    asymmetric,
    IntegerType(_INT16 | {"uint4", "float8e5m2"}, "rejected", "TensorRT knows no such type.", weights=True),
    unsigned,
    missing_zero_point,
    ScaleNotPositive(
        "rejected", "TensorRT refuses the model; one dead channel of a weight is enough.", everywhere=True
    ),
    ScaleAtRunTime("rejected", "TensorRT-RTX 1.7 crashes on it, and takes the process along.", crashes=True),
    int32_bias,
    PerChannelActivation(),
    WeightAxis(),
    BlockedInt8("TensorRT unpacks them to floats.", weight_only=True),
    Int4("TensorRT has kernels for 4-bit weights with blocks and a float activation only.", blocks_only=True),
    HalfQuantized(_TRT_CARRIES, "TensorRT"),
    NoConvTranspose(
        "TensorRT-RTX runs every ConvTranspose in float.",
        "Take its Q/DQ away, or use Resize and Conv.",
    ),
    FloatOperator(
        frozenset(
            {
                *("AveragePool", "Clip", "Elu", "Erf", "GRU", "Gelu", "GlobalAveragePool", "HardSigmoid", "HardSwish"),
                *("InstanceNormalization", "LSTM", "LayerNormalization", "LeakyRelu", "LpNormalization", "PRelu"),
                *("ReduceMean", "Relu", "Sigmoid", "Softmax", "Tanh"),
            }
        ),
        "TensorRT",
    ),
    IntegerOperators(
        INTEGER_OPERATORS,
        "rejected",
        "TensorRT reads Q/DQ nodes only, and refuses the model.",
        "Write the model with Q/DQ nodes: `onnxq retarget`, or quantize with quant_format=QDQ.",
    ),
)
