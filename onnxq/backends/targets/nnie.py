"""HiSilicon's NNIE: 8-bit logarithmic grids, one for what a layer reads and one for its weight (``logarithmic.py`` has
the formula and its source; MQBench docs/source/user_guide/hardware/nnie.rst)."""

from onnxq.backends.backend import Backend
from onnxq.backends.scale_tables import NNIE_GFPQ
from onnxq.backends.tables import FUSED, LINEAR_INPUTS
from onnxq.scheme import ActivationSchemes, Scheme, Steps

_LOG = Scheme(signed=True, symmetric=True, steps=Steps.LOGARITHMIC)

BACKEND = Backend(
    name="nnie",
    title="NNIE",
    rules=LINEAR_INPUTS,
    absorbs=FUSED,
    activation=ActivationSchemes.always(_LOG),
    weight=_LOG,
    per_channel=False,
    side_file=NNIE_GFPQ,
)
