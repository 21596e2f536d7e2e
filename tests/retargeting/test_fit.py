"""A learned grid is kept where another can express it, and else its range is."""

from dataclasses import replace

import numpy as np
import pytest

from onnxq.lifting.lift import LearnedWeight
from onnxq.retargeting.fit import exact, fit_activation, fit_weight, from_zero, reals
from onnxq.scheme import ActivationSchemes, QParams, Scheme, Steps

I8, U8 = Scheme(signed=True, symmetric=True), Scheme(signed=False, symmetric=False)
FROM_ZERO = Scheme(signed=False, symmetric=True)
WIDE = Scheme(signed=False, symmetric=False, bits=16)
ONNXRUNTIME, TENSORRT = ActivationSchemes(U8, U8, U8), ActivationSchemes(I8, I8, I8)
OPENVINO = ActivationSchemes(FROM_ZERO, I8, U8)


def learned(zero: int, *, signed: bool, bits: int = 8, scale: float = 0.1) -> QParams:
    scheme = Scheme(signed, zero == 0, bits)
    return QParams(scheme, np.asarray(scale, np.float32), np.asarray(zero, scheme.dtype))


@pytest.mark.parametrize(
    ("zero", "signed", "schemes", "expected"),
    [
        (0, True, TENSORRT, (I8, 0)),
        (128, False, TENSORRT, (I8, 0)),
        (0, True, ONNXRUNTIME, (U8, 128)),
        (0, False, ONNXRUNTIME, (U8, 0)),
        (-128, True, OPENVINO, (FROM_ZERO, 0)),
        (128, False, OPENVINO, (I8, 0)),
        (20, False, OPENVINO, (U8, 20)),
        (-20, True, ONNXRUNTIME, (U8, 108)),
    ],
)
def test_the_same_reals_on_integers_of_the_other_sign(
    zero: int, signed: bool, schemes: ActivationSchemes, expected: tuple[Scheme, int]
) -> None:
    fit = fit_activation(learned(zero, signed=signed), schemes)
    assert (fit.reason, fit.slower) == ("", "")
    assert (fit.params.scheme, int(fit.params.zero_point)) == expected
    assert fit.params.scale == np.float32(0.1)


def test_what_a_symmetric_grid_cannot_express_keeps_its_range_and_says_what_it_costs() -> None:
    fit = fit_activation(learned(0, signed=False), TENSORRT)
    assert float(reals(fit.params).high) == pytest.approx(25.5)
    assert fit.reason == (
        "u8 symmetric per tensor becomes i8 symmetric per tensor: its range is kept, "
        "its steps are up to 2.1 times as wide"
    )


def test_sixteen_bits_in_eight_and_four_in_eight() -> None:
    coarser = fit_activation(learned(30000, signed=False, bits=16, scale=0.001), ONNXRUNTIME)
    assert "its steps are 257 times wider" in coarser.reason
    narrow = fit_activation(learned(0, signed=False, bits=4), ONNXRUNTIME)
    assert (narrow.reason, narrow.params.scheme.bits) == ("", 4)
    finer = fit_activation(learned(0, signed=False, bits=4), TENSORRT)
    assert "its steps are finer" in finer.reason
    assert float(reals(finer.params).high) == pytest.approx(1.5)
    assert exact(learned(30000, signed=False, bits=16), WIDE) is not None


def test_a_slower_grid_is_kept_unless_refitted() -> None:
    grid = learned(120, signed=False)
    kept = fit_activation(grid, OPENVINO)
    assert (kept.params.scheme, kept.reason) == (U8, "")
    assert "i8 symmetric per tensor would be faster" in kept.slower
    assert fit_activation(grid, OPENVINO, refit=True).params.scheme == I8


def test_one_grid_for_channels_that_had_their_own_reaches_as_far_as_any() -> None:
    scheme = Scheme(signed=True, symmetric=True, axis=1)
    grid = QParams(scheme, np.array([0.1, 0.2], np.float32), np.zeros(2, np.int8))
    fit = fit_activation(grid, TENSORRT)
    assert "per channel (axis 1) becomes i8 symmetric per tensor" in fit.reason
    assert float(fit.params.scale) == pytest.approx(0.2, rel=0.01)


def test_a_relu_fuses_only_into_a_grid_from_zero() -> None:
    fit = fit_activation(learned(0, signed=True), ONNXRUNTIME)
    relu = from_zero(fit, U8, "Relu")
    assert (int(relu.params.zero_point), float(relu.params.scale)) == (0, float(np.float32(0.1)))
    clip = from_zero(fit, U8, "Clip")
    assert float(reals(clip.params).high) == pytest.approx(12.7)
    assert "so that the Clip fuses" in clip.reason
    assert from_zero(relu, U8, "Relu") is relu
    assert from_zero(fit, I8, "Relu") is fit  # there is none from zero


INTEGERS = np.array([[-128, 3], [0, 127]], np.int8)


@pytest.mark.parametrize(
    ("zero", "dtype", "shift"), [(0, np.int8, 0), (128, np.uint8, 128)], ids=["signed", "unsigned"]
)
def test_weights_keep_their_integers(zero: int, dtype: type[np.integer], shift: int) -> None:
    scheme = Scheme(dtype is np.int8, zero == 0, axis=0)
    params = QParams(scheme, np.array([0.1, 0.0], np.float32), np.full(2, zero, dtype))
    kept = fit_weight(LearnedWeight((INTEGERS.astype(int) + shift).astype(dtype), params), I8.along(0))
    assert kept is not None
    assert np.array_equal(kept.integers, INTEGERS * [[1], [0]])  # no scale, no value
    assert np.array_equal(kept.params.scale, np.array([0.1, 1], np.float32))  # engines refuse a scale of zero
    assert kept.params.scheme == I8.along(0)


def test_weights_keep_their_zero_points_where_the_target_has_them() -> None:
    params = QParams(Scheme(signed=False, symmetric=False), np.array(0.1, np.float32), np.array(100, np.uint8))
    learned = LearnedWeight(np.array([0, 100, 255], np.uint8), params)
    kept = fit_weight(learned, U8)
    assert kept is not None
    assert np.array_equal(kept.integers, learned.integers)
    assert kept.params.zero_point == 100


@pytest.mark.parametrize(("scale", "possible"), [(0.25, True), (0.1, False)])
def test_steps_that_must_be_powers_of_two(scale: float, possible: bool) -> None:
    params = QParams(I8, np.array(scale, np.float32), np.array(0, np.int8))
    scheme = replace(I8, steps=Steps.POWER_OF_TWO)
    assert (fit_weight(LearnedWeight(INTEGERS, params), scheme) is not None) == possible
    assert (exact(params, scheme) is not None) == possible
    assert exact(params, replace(I8, steps=Steps.LOGARITHMIC)) is None


@pytest.mark.parametrize(
    ("scheme", "zero", "axis"),
    [
        pytest.param(Scheme(False, False), 100, None, id="asymmetric"),
        pytest.param(Scheme(True, True, axis=1), 0, 0, id="another axis"),
        pytest.param(Scheme(True, True, bits=16), 0, None, id="too many bits"),
    ],
)
def test_weights_that_cannot_be_kept(scheme: Scheme, zero: int, axis: int | None) -> None:
    size = () if scheme.axis is None else (2,)
    params = QParams(scheme, np.full(size, 0.1, np.float32), np.full(size, zero, scheme.dtype))
    assert fit_weight(LearnedWeight(np.abs(INTEGERS).astype(scheme.dtype), params), I8.along(axis)) is None
