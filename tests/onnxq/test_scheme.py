"""Integers for reals and back."""

from dataclasses import replace

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxq.constants import reach
from onnxq.scheme import ActivationSchemes, Range, Scheme, Steps, dequantize, held, qparams, quantize, same_grid
from onnxq.sqnr import sqnr_db
from onnxq.testing import normal, parse, run

SCHEMES = [
    Scheme(signed, symmetric, bits) for signed in (True, False) for symmetric in (True, False) for bits in (16, 8, 4)
]
POWERS = [
    Scheme(signed, symmetric, steps=Steps.POWER_OF_TWO) for signed in (True, False) for symmetric in (True, False)
]
FINITE = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)


@given(st.sampled_from([*SCHEMES, *POWERS]), FINITE, FINITE, st.integers(0, 2**32 - 1))
def test_inside_the_range_the_error_is_at_most_half_a_step(scheme: Scheme, one: float, two: float, seed: int) -> None:
    low, high = sorted((one, two))
    if scheme.symmetric and not scheme.signed:
        low, high = abs(low), max(abs(low), high)
    params = qparams(scheme, Range.of(low, high))
    values = np.random.default_rng(seed).uniform(min(low, 0), max(high, 0) + 0.0, 64).astype(np.float32)
    integers = quantize(values, params)
    error = np.abs(dequantize(integers, params) - values).max()
    assert error <= params.scale * (0.5 + (1e-4 if scheme.bits <= 8 else 1e-2))  # float32 counts to 2^24
    assert integers.dtype == scheme.dtype and scheme.lowest <= integers.min() and integers.max() <= scheme.highest
    assert dequantize(quantize(np.zeros(1, np.float32), params), params) == 0


@pytest.mark.parametrize(
    ("scheme", "lowest", "highest", "said"),
    [
        (Scheme(True, True), -127, 127, "i8 symmetric per tensor"),
        (Scheme(True, False), -128, 127, "i8 asymmetric per tensor"),
        (Scheme(False, False, axis=1), 0, 255, "u8 asymmetric per channel (axis 1)"),
        (Scheme(True, True, 3, 0), -3, 3, "i3 symmetric per channel (axis 0)"),
        (Scheme(False, False, 16), 0, 65535, "u16 asymmetric per tensor"),
        (POWERS[0], -127, 127, "i8 symmetric power of two per tensor"),
    ],
)
def test_the_integers_of_a_scheme(scheme: Scheme, lowest: int, highest: int, said: str) -> None:
    assert (scheme.lowest, scheme.highest, str(scheme)) == (lowest, highest, said)


@pytest.mark.parametrize("scheme", [Scheme(True, True), Scheme(False, False), Scheme(True, False)])
def test_quantize_is_what_onnxruntime_computes(scheme: Scheme) -> None:
    values = normal(1000, scale=3)
    params = qparams(scheme, Range.of(-4, 7))
    kind = scheme.dtype.name
    model = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["": 17]>
        g (float[N] x) => ({kind}[N] q, float[N] y)
        <float s = {{{float(params.scale)!r}}}, {kind} z = {{{int(params.zero_point)}}}>
        {{ q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }}""")
    made = run(model, x=values)
    kept = np.abs(values) < 4  # onnxruntime also uses the lowest integer of a symmetric grid
    np.testing.assert_array_equal(made["q"][kept], quantize(values, params)[kept])
    np.testing.assert_array_equal(made["y"][kept], dequantize(quantize(values, params), params)[kept])


@given(st.sampled_from([*SCHEMES, *POWERS]), st.lists(st.floats(0, 2.0**126, width=32), min_size=1, max_size=5))
def test_scales_are_positive_whatever_the_range(scheme: Scheme, reach: list[float]) -> None:
    ends: NDArray[np.float64] = np.array(reach)
    params = qparams(scheme.along(0), Range(-ends, ends))
    assert params.scale.dtype == np.float32 and params.scale.shape == ends.shape
    assert np.all(params.scale > 0) and np.all(np.isfinite(params.scale))


def test_channels_have_grids_of_their_own() -> None:
    values = normal(3, 4, 5) * np.array([1, 10, 100], np.float32)[:, None, None]
    reach = np.abs(values).max((1, 2))
    params = qparams(Scheme(True, True, axis=0), Range(-reach, reach))
    error = np.abs(dequantize(quantize(values, params), params) - values).max((1, 2))
    assert np.all(error <= params.scale * 0.5001)
    np.testing.assert_allclose(params.scale, reach / 127, rtol=1e-6)


@given(st.sampled_from(POWERS), FINITE, FINITE)
def test_a_power_of_two_is_the_next_one_up(scheme: Scheme, one: float, two: float) -> None:
    low, high = sorted((one, two))
    scale = float(qparams(scheme, Range.of(low, high)).scale)
    even = float(qparams(replace(scheme, steps=Steps.EVEN), Range.of(low, high)).scale)
    assert np.frexp(scale)[0] == 0.5
    assert scale / 2 < even * (1 + 1e-6) and even <= scale * (1 + 1e-5)


@pytest.mark.parametrize("scheme", [*SCHEMES, *POWERS])
def test_the_ends_of_a_grid_are_on_it(scheme: Scheme) -> None:
    params = qparams(scheme, Range.of(-2, 5))
    ends = held(params)
    both = np.array([ends.low, ends.high])
    assert quantize(both, params).tolist() == [scheme.lowest, scheme.highest]
    np.testing.assert_allclose(dequantize(quantize(both, params), params), both, rtol=1e-6)
    np.testing.assert_array_equal(quantize(10 * both, params), quantize(both, params))


def test_an_activation_takes_the_scheme_its_range_calls_for() -> None:
    schemes = ActivationSchemes(Scheme(False, True), Scheme(True, True), Scheme(False, False))
    found = {
        (0.0, 6.0): schemes.non_negative,
        (1.0, 6.0): schemes.non_negative,
        (-3.0, 6.0): schemes.signed,
        (-2.9, 6.0): schemes.lopsided,
        (-6.0, 0.3): schemes.lopsided,
        (-6.0, -1.0): schemes.lopsided,
    }
    assert {ends: schemes.of(Range.of(*ends)) for ends in found} == found


def test_same_grid_compares_scheme_scale_and_zero_point() -> None:
    one = qparams(Scheme(False, False), Range.of(-1, 2))
    assert same_grid(one, qparams(Scheme(False, False), Range.of(-1, 2)))
    assert not same_grid(one, qparams(Scheme(False, False), Range.of(-2, 1)))
    assert not same_grid(one, qparams(Scheme(False, False, 7), Range.of(-1, 2)))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("axis", "block"), [(0, 4), (1, 4), (1, 3), (0, 16)])
def test_blocks_are_those_of_onnxruntime(symmetric: bool, axis: int, block: int) -> None:
    values = normal(8, 10) * np.linspace(1, 30, 80, dtype=np.float32).reshape(8, 10)
    scheme = Scheme(symmetric, symmetric, axis=axis, block=block)
    params = qparams(scheme, reach(values, scheme))
    count = -(-values.shape[axis] // block)
    assert params.scale.shape == params.zero_point.shape == ((count, 10) if axis == 0 else (8, count))
    integers = quantize(values, params)
    kind = scheme.dtype.name
    model = parse(
        f"g ({kind}[A,B] q) => (float[A,B] y) {{ y = DequantizeLinear<axis={axis}, block_size={block}>(q, s, z) }}",
        21,
        s=params.scale,
        z=params.zero_point,
    )
    np.testing.assert_array_equal(run(model, q=integers)["y"], dequantize(integers, params))
    inside = np.arange(values.shape[axis]) // block
    assert np.all(np.abs(dequantize(integers, params) - values) <= params.scale.take(inside, axis) * 0.5001)
    assert str(scheme).endswith(f"blocks of {block} (axis {axis})")


def test_8_bit_floats_are_those_of_onnxruntime() -> None:
    scheme = Scheme(True, True, axis=1, steps=Steps.FLOAT8)
    values = normal(64, 8) * np.array([1e-3, 1, 30, 1, 1, 1, 1, 1e4], np.float32)
    params = qparams(scheme, reach(values, scheme))
    floats = quantize(values, params)
    text = """g (float[A,B] x) => (float8e4m3fn[A,B] q, float[A,B] y)
        { q = QuantizeLinear<axis=1>(x, s, z) y = DequantizeLinear<axis=1>(q, s, z) }"""
    made = run(parse(text, 19, s=params.scale, z=params.zero_point), x=values)
    np.testing.assert_array_equal(made["y"], dequantize(floats, params))
    np.testing.assert_allclose(np.abs(dequantize(floats, params)).max(0), np.abs(values).max(0), rtol=1e-6)
    assert 30 < sqnr_db(values, dequantize(floats, params)) < 34  # 3 bits of mantissa
    assert str(scheme) == "float8 e4m3 per channel (axis 1)"
    beyond = quantize(10 * values, params)
    assert np.abs(beyond.astype(np.float32)).max() == 448
