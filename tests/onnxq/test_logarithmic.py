"""The logarithmic grid of NNIE, against its published table, and in ordinary operators against numpy."""

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from onnxq.graph import Names
from onnxq.logarithmic import STEP, ZERO, codes, largest, smallest, values
from onnxq.logarithmic_nodes import simulation
from onnxq.scheme import Range, Scheme, Steps, dequantize, held, qparams, quantize
from onnxq.testing import normal, run

LOG = Scheme(True, True, steps=Steps.LOGARITHMIC)
C = 4.0  # 16 * log2(4) = 32, so z = 32 - 127
Z = -95
UNIT = np.array(2 ** (Z / 16), np.float32)


def power(steps: float) -> float:
    return float(2 ** ((Z + steps) / 16))


@pytest.mark.parametrize(
    ("real", "code"),
    [
        (-100.0, -127),
        (-power(126.6), -127),
        (-power(126.4), -126),
        (-power(2), -2),
        (-power(1.6), -2),
        (-power(1.4), -1),
        (-power(1 - 15.9), -1),
        (-power(1 - 16.1), ZERO),
        (0.0, ZERO),
        (power(-16.1), ZERO),
        (power(-15.9), 0),
        (power(0.4), 0),
        (power(0.6), 1),
        (power(126.4), 126),
        (power(126.6), 127),
        (100.0, 127),
    ],
)
def test_the_published_table(real: float, code: int) -> None:
    found = codes(np.array([real]), UNIT)
    assert found.dtype == np.int8 and found.tolist() == [code]
    expected = 0.0 if code == ZERO else np.copysign(power(abs(code)), real)
    np.testing.assert_allclose(values(found, UNIT), [expected], rtol=1e-6)


def test_the_grid_is_found_from_what_it_must_hold() -> None:
    assert smallest(np.array(C)) == UNIT
    assert largest(UNIT) == C
    assert largest(smallest(np.array(5.0))) == pytest.approx(2 ** (37 / 16), abs=0)  # 16 * log2(5) is 37.15
    params = qparams(LOG, Range.of(-3, C))
    assert params.scale == UNIT and held(params).high == C and held(params).low == -C
    assert str(LOG) == "i8 symmetric logarithmic per tensor"


def test_every_value_is_within_half_a_step_of_its_own_size() -> None:
    reals = normal(10000, scale=1)
    reals = reals[np.abs(reals) < C]
    params = qparams(LOG, Range.of(-C, C))
    error = np.abs(dequantize(quantize(reals, params), params) - reals)
    inside = np.abs(reals) > 2 * UNIT
    assert np.all(error[inside] <= np.abs(reals[inside]) * (STEP**0.5 - 1) * 1.001)
    assert np.all(error[~inside] <= UNIT)


def test_the_simulation_computes_the_same() -> None:
    reals = np.concatenate([normal(5000, scale=2), normal(500, scale=0.01), [0, 100, -100]]).astype(np.float32)
    x, y = gs.Variable("x", np.float32, ["N"]), gs.Variable("y", np.float32, ["N"])
    graph = gs.Graph(inputs=[x], outputs=[y], opset=17)
    graph.nodes += simulation(Names(graph), "x", x, y, float(UNIT))
    model = gs.export_onnx(graph.toposort())
    model.ir_version = 8
    made = run(model, x=reals)["y"]
    expected = values(codes(reals, UNIT), UNIT)
    apart = ~np.isclose(made, expected, rtol=1e-5, atol=0)
    # A real halfway between two values may fall to either: float32 has the logarithm to some 1e-7.
    assert np.all(np.abs(made - expected)[apart] <= np.abs(expected)[apart] * (STEP - 1) * 1.01)
    assert apart.mean() < 1e-3
