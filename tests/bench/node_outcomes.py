"""What onnxq makes of a test of the ONNX standard: whether prepare keeps its function, and whether it is quantized."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from node_cases import Case, Refused, answers
from onnxq import OnnxqError, Options, quantize
from onnxq.backends import backend_of
from onnxq.backends.onnxruntime import build
from onnxq.model import load_model, to_graph
from onnxq.normalise import OLDEST_OPSET, opset
from onnxq.proof import allowance, relative_error
from onnxq.recipe import load_recipe
from onnxq.samples import Samples, input_specs, open_samples
from onnxq.workspace import TOLERANCE, FloatRewrite, SampledRewrite, Workspace

GOOD = ("kept", "quantized", "refused")


@dataclass(frozen=True)
class Outcome:
    """``prepared`` and ``quantized`` are a word, of ``GOOD`` or what went wrong, and the reason for it; None where
    onnxruntime does not run the test in float, for the reason ``refusal``."""

    case: Case
    refusal: str | None = None
    prepared: tuple[str, str] | None = None
    quantized: tuple[str, str] | None = None

    @property
    def failed(self) -> bool:
        """Whether it is neither as it should be nor clearly refused."""
        return any(found is not None and found[0] not in GOOD for found in (self.prepared, self.quantized))


def outcome(case: Case) -> Outcome:
    try:
        wanted, again = answers(case.model, case.feeds), answers(case.model, case.feeds)
        answers(case.model, case.feeds, optimize=True)
    except Refused as refusal:
        return Outcome(case, refusal=str(refusal))
    random = objection(wanted, again) is not None
    return Outcome(case, None, _prepared(case, wanted, random), _quantized(case, wanted))


def _prepared(case: Case, wanted: Sequence[Any], random: bool) -> tuple[str, str]:
    """The float rewrites of the default recipe, without the proof that would undo those that change the function."""
    try:
        model = load_model(case.model)
        space = _workspace(case, model)
        answers(model, case.feeds)
    except OnnxqError as error:
        return "refused", str(error)
    except Refused as refusal:
        return "refused", f"onnxruntime refuses it once shapes are inferred: {refusal}"
    except Exception as error:  # whatever it is, the table is to show it
        return "traceback", f"{type(error).__name__}: {error}"
    try:
        for step in load_recipe("default").passes:
            if isinstance(step, FloatRewrite) and (space.samples.inputs or not isinstance(step, SampledRewrite)):
                step(space)
                space.forget()
        found = answers(space.model(), case.feeds)
    except OnnxqError as error:
        return "refused", str(error)
    except Refused as refusal:
        return "does not run", str(refusal)
    except Exception as error:  # whatever it is, the table is to show it
        return "traceback", f"{type(error).__name__}: {error}"
    said = objection(wanted, found, alike=random)
    return ("kept", "") if said is None else ("changed", said)


def _workspace(case: Case, model: onnx.ModelProto) -> Workspace:
    """With the test's inputs for samples, or without any where onnxq does not take them for such."""
    backend = backend_of("onnxruntime")
    try:
        samples = open_samples(
            {name: np.asarray(array)[None] for name, array in case.feeds.items()}, input_specs(model)
        )
        list(samples.batches())
    except (OnnxqError, ValueError):
        samples = Samples(open_samples("random", ()).source, ())
    return Workspace(to_graph(model), model, samples, backend)


def _quantized(case: Case, wanted: Sequence[Any]) -> tuple[str, str]:
    samples = {name: np.asarray(array)[None] for name, array in case.feeds.items()} if case.plain else dict(case.feeds)
    try:
        model = quantize(case.model, samples, backend="onnxruntime", options=Options(build=False))["onnxruntime"].model
    except OnnxqError as error:
        return "refused", str(error)
    except Exception as error:  # whatever it is, the table is to show it
        return "traceback", f"{type(error).__name__}: {error}"
    try:
        onnx.checker.check_model(model, full_check=_passes(case.model))
        found = list(build(model, threads=1).run(case.feeds).values())
    except (OnnxqError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return "does not load", str(error)
    strange = [i for i, (a, b) in enumerate(zip(wanted, found, strict=True)) if (a.dtype, a.ndim) != (b.dtype, b.ndim)]
    return (f"output {strange[0]}", "has another type or rank") if strange else ("quantized", "")


def _passes(model: onnx.ModelProto) -> bool:
    """Whether ONNX's own full check accepts the float model: it stumbles over functions of old opsets."""
    try:
        onnx.checker.check_model(onnx.version_converter.convert_version(model, max(opset(model), OLDEST_OPSET)), True)
    except (RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True


def objection(wanted: Sequence[Any], found: Sequence[Any], alike: bool = False) -> str | None:
    """Why the answers are not the same; ``alike``: only their kinds and shapes are looked at."""
    for index, (a, b) in enumerate(zip(wanted, found, strict=True)):
        if isinstance(a, list) and isinstance(b, list):
            said = "another length" if len(a) != len(b) else objection(a, b, alike)
        elif a is None or b is None:
            said = None if a is b else "nothing there"
        elif alike or a.dtype.kind not in "fc":
            said = None if a.dtype == b.dtype and a.shape == b.shape and (alike or np.array_equal(a, b)) else "another"
        else:
            error = relative_error(a, b) if a.dtype == b.dtype else np.inf
            said = None if error <= allowance(a, TOLERANCE) else f"by {error:.1e}"
        if said is not None:
            return f"output {index}: {said}"
    return None
