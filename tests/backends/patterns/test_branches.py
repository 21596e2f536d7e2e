"""What joins and parts tensors between convolutions: sums, concats, splits, pools, resizing, squeeze-and-excite."""

from dataclasses import replace

import numpy as np
import pytest

from onnxq.backends import BACKENDS
from onnxq.testing import Pattern, normal, scaled

SIX = np.array(6, np.float32)
WEIGHTS = {
    "w": scaled(32, 32, 3, 3),
    "v": scaled(32, 32, 3, 3, seed=2),
    "u": scaled(32, 32, 1, 1, seed=1),
    "t": scaled(32, 32, 1, 1, seed=3),
    "loud": 4 * scaled(32, 32, 3, 3, seed=4),
    "wide": scaled(32, 64, 1, 1),
    "wider": scaled(32, 96, 1, 1),
    "widest": scaled(32, 128, 1, 1),
    "grow": scaled(64, 32, 1, 1),
    "shrink": scaled(32, 64, 1, 1, seed=5),
    "deep": scaled(64, 1, 3, 3),
    "half1": scaled(16, 16, 3, 3),
    "half2": scaled(16, 16, 3, 3, seed=6),
    "point": scaled(16, 16, 1, 1, seed=7),
    "deep16": scaled(16, 1, 3, 3, seed=8),
    "three": scaled(32, 48, 1, 1),
    "narrow": scaled(16, 8, 3, 3),
    "sixteen": scaled(32, 16, 1, 1, seed=9),
    "squeeze": scaled(16, 32, 1, 1),
    "excite": scaled(32, 16, 1, 1),
    "sb": normal(16),
    "eb": normal(32),
    "fc": scaled(16, 32),
    "fcb": normal(16),
    "up": scaled(32, 32, 2, 2),
    "grouped": scaled(32, 16, 2, 2),
    "gamma": 1 + normal(32, scale=0.1),
    "beta": normal(32, scale=0.2, seed=2),
    "mean": normal(32, scale=0.2, seed=3),
    "variance": 1 + np.abs(normal(32, seed=4)),
    "zero": np.array(0, np.float32),
    "six": SIX,
    "twice": np.array([1, 1, 2, 2], np.float32),
    "groups": np.array([-1, 2, 16, 12, 12]),
    "image": np.array([-1, 32, 12, 12]),
    "even": np.array([0, 0]),
    "odd": np.array([1, 1]),
    "end": np.array([12, 12]),
    "hw": np.array([2, 3]),
    "step": np.array([2, 2]),
    "i0": np.array([0]),
    "i1": np.array([1]),
    "i2": np.array([2]),
    "i4": np.array([4]),
    "i16": np.array([16]),
    "pad": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
}
IMAGE = Pattern("", WEIGHTS, {"x": normal(4, 32, 12, 12, seed=9)}, "float[N,32,12,12] x")
ROWS = replace(IMAGE, outputs="float[N,M] y")
DECONVOLUTION = {"onnxruntime": {"up1": "no integer kernel"}, "tensorrt": {"up1": "deconv"}}
ONE = "[one] a = Conv<pads=[1,1,1,1]>(x, w) b = Relu(a)"
SILU = "[one] a = Conv<pads=[1,1,1,1]>(x, w) as = Sigmoid(a) b = Mul(a, as)"

PATTERNS: dict[str, str | Pattern] = {
    "residual": f"""{ONE} [two] c = Conv<pads=[1,1,1,1]>(b, v) d = Relu(c) [three] e = Conv(d, u) [add] f = Add(e, b)
        g = Relu(f) [four] y = Conv(g, t)""",
    "residual_with_projection": f"""{ONE} [two] c = Conv<pads=[1,1,1,1]>(b, v) d = Relu(c) [three] e = Conv(d, u)
        [side] h = Conv(b, t) [add] f = Add(e, h) g = Relu(f) [four] y = Conv(g, u)""",
    "residual_before_activation": """[one] a = Conv<pads=[1,1,1,1]>(x, w)
        n = BatchNormalization(a, gamma, beta, mean, variance) b = Relu(n) [two] c = Conv<pads=[1,1,1,1]>(b, v)
        m = BatchNormalization(c, gamma, beta, mean, variance) d = Relu(m) [three] e = Conv(d, u) [add] f = Add(e, a)
        o = BatchNormalization(f, gamma, beta, mean, variance) g = Relu(o) [four] y = Conv(g, t)""",
    "inverted_residual": replace(
        IMAGE,
        body="""[grow1] a = Conv(x, grow) b = Clip(a, zero, six) [dw] c = Conv<group=64, pads=[1,1,1,1]>(b, deep)
        d = Clip(c, zero, six) [shrink1] e = Conv(d, shrink) [add] f = Add(e, x) [last] y = Conv(f, t)""",
    ),
    "concat_of_unequal_ranges": replace(
        IMAGE,
        body=f"""{ONE} [two] c = Conv<pads=[1,1,1,1]>(x, loud) d = Relu(c) j = Concat<axis=1>(b, d)
        [three] y = Conv(j, wide)""",
    ),
    "concat_of_signed_tensors": """[one] a = Conv(x, u) [two] b = Conv(x, t) j = Concat<axis=1>(a, b)
        [three] y = Conv(j, wide)""",
    "dense_block": f"""{ONE} j = Concat<axis=1>(x, b) [two] c = Conv(j, wide) k = Concat<axis=1>(j, c)
        [three] y = Conv(k, wider)""",
    "c2f": f"""{SILU} p, q = Split<axis=1>(b) [two] c = Conv<pads=[1,1,1,1]>(q, half1) cs = Sigmoid(c) d = Mul(c, cs)
        [three] e = Conv<pads=[1,1,1,1]>(d, half2) es = Sigmoid(e) f = Mul(e, es) [add] g = Add(q, f)
        j = Concat<axis=1>(p, q, g) [four] y = Conv(j, three)""",
    "elan": f"""[zero1] k = Conv(x, u) l = Relu(k) {ONE.replace('(x, w)', '(l, w)')} i = Concat<axis=1>(l, b)
        [two] c = Conv(i, wide) d = Relu(c) j = Concat<axis=1>(i, d) [three] y = Conv(j, wider)""",
    "channel_shuffle": replace(
        IMAGE,
        body=f"""{ONE} p, q = Split<axis=1>(b) [two] c = Conv(q, point) d = Relu(c)
        [dw] e = Conv<group=16, pads=[1,1,1,1]>(d, deep16) [three] f = Conv(e, point) g = Relu(f)
        j = Concat<axis=1>(p, g) r = Reshape(j, groups) s = Transpose<perm=[0,2,1,3,4]>(r) z = Reshape(s, image)
        [four] y = Conv(z, t)""",
    ),
    "focus": """a = Slice(x, even, end, hw, step) b = Slice(x, odd, end, hw, step) j = Concat<axis=1>(a, b)
        [one] c = Conv(j, wide) d = Relu(c) [two] y = Conv(d, t)""",
    "spatial_pyramid_pooling": f"""{ONE} c = MaxPool<kernel_shape=[5,5], pads=[2,2,2,2]>(b)
        d = MaxPool<kernel_shape=[5,5], pads=[2,2,2,2]>(c) e = MaxPool<kernel_shape=[5,5], pads=[2,2,2,2]>(d)
        j = Concat<axis=1>(b, c, d, e) [two] y = Conv(j, widest)""",
    "upsampled_concat": f"""{ONE} [two] c = Conv<strides=[2,2], pads=[1,1,1,1]>(b, v) d = Relu(c)
        e = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(d, , twice)
        j = Concat<axis=1>(e, b) [three] y = Conv(j, wide)""",
    "upsampled_sum": f"""{ONE} [two] c = Conv<strides=[2,2], pads=[1,1,1,1]>(b, v) d = Relu(c)
        e = Resize<mode="linear">(d, , twice) [add] f = Add(e, b) [three] y = Conv(f, t)""",
    "squeeze_and_excite": f"""{SILU} p = GlobalAveragePool(b) [two] c = Conv(p, squeeze, sb) d = Relu(c)
        [three] e = Conv(d, excite, eb) f = Sigmoid(e) m = Mul(b, f) [four] y = Conv(m, t)""",
    "squeeze_and_excite_of_mobilenet": """[one] a = Conv<pads=[1,1,1,1]>(x, w) b = HardSwish(a)
        p = ReduceMean<axes=[2,3], keepdims=1>(b) [two] c = Conv(p, squeeze, sb) d = Relu(c)
        [three] e = Conv(d, excite, eb) f = HardSigmoid<alpha=0.16666667>(e) m = Mul(f, b) [four] y = Conv(m, t)""",
    "pools": replace(
        ROWS,
        body=f"""{ONE} c = MaxPool<kernel_shape=[2,2], strides=[2,2]>(b) [two] d = Conv(c, u)
        e = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(d) [three] f = Conv(e, t) g = GlobalAveragePool(f)
        h = Flatten(g) [four] y = Gemm<transB=1>(h, fc, fcb)""",
    ),
    "global_max_pool": f"{ONE} c = GlobalMaxPool(b) [two] y = Conv(c, t)",
    "maximum_over_an_image": replace(
        ROWS,
        body="""[one] a = Conv<pads=[1,1,1,1]>(x, w) b = ReduceMax<axes=[2,3], keepdims=0>(a)
        [two] y = Gemm<transB=1>(b, fc)""",
    ),
    "mean_over_an_image": replace(
        ROWS, body=f"{ONE} c = ReduceMean<axes=[2,3], keepdims=0>(b) [two] y = Gemm<transB=1>(c, fc)"
    ),
    "squeezed_pool": replace(
        ROWS, body=f"{ONE} c = GlobalAveragePool(b) d = Squeeze(c, hw) [two] y = Gemm<transB=1>(d, fc)"
    ),
    "slice_of_channels": f"{ONE} c = Slice(b, i0, i16, i1) [two] y = Conv(c, sixteen)",
    "nothing_joined": f"{ONE} c = Slice(b, i0, i0, i1) j = Concat<axis=1>(b, c) [two] y = Conv(j, t)",
    "depth_to_space": f"{ONE} c = DepthToSpace<blocksize=2>(b) [two] y = Conv(c, narrow)",
    "padding_of_its_own": "p = Pad(x, pad) [one] a = Conv(p, w) b = Relu(a) q = Pad(b, pad) [two] y = Conv(q, v)",
    "transposed_convolution": replace(
        IMAGE,
        body=f"{ONE} [up1] c = ConvTranspose<strides=[2,2]>(b, up, eb) d = Relu(c) [two] y = Conv(d, t)",
        floats=DECONVOLUTION,
    ),
    "grouped_transposed_convolution": replace(
        IMAGE,
        body=f"{ONE} [up1] c = ConvTranspose<strides=[2,2], group=2>(b, grouped) d = Relu(c) [two] y = Conv(d, t)",
        floats={**DECONVOLUTION, "openvino": {"up1": "f32"}, "portable": {"up1": "no integer kernel"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PATTERNS)
def test_branches_between_convolutions(name: str, backend: str) -> None:
    found = PATTERNS[name]
    pattern = replace(IMAGE, body=found) if isinstance(found, str) else found
    replace(pattern, least=24).holds_on(backend)
