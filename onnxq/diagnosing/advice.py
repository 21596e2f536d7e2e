"""What was found in plain words, and the recipe that follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from onnxq.diagnosing.cure import GOOD, Cure
from onnxq.diagnosing.layers import LayerNoise
from onnxq.diagnosing.parts import Parts
from onnxq.diagnosing.sanity import Sanity
from onnxq.diagnosing.switched import AT_INPUT
from onnxq.diagnosing.symptoms import Symptom, spreads
from onnxq.held_out import decibels
from onnxq.recipe import Recipe
from onnxq.recipes import text

WIDE = 32.0  # times as far: 5 of 8 bits
MUCH = 2.0  # times as much noise: 3 dB


def advice(
    state: Sanity,
    parts: Parts,
    layers: Sequence[LayerNoise],
    found: Mapping[str, Sequence[Symptom]],
    cure: Cure,
) -> tuple[str, ...]:
    """Sentences, the most important first."""
    return tuple(
        filter(
            None,
            (
                _sane(state),
                _state(cure),
                _where(parts),
                _worst(layers, parts, found),
                _widest(layers, found),
                _do(cure),
            ),
        )
    )


def recipe_text(recipe: Recipe, backend: str, said: Sequence[str]) -> str:
    """The recipe as a YAML file for the backend, with the reasons above it."""
    return text.recipe_text(replace(recipe, backends=(backend,)), "\n".join(said))


def _sane(state: Sanity) -> str:
    return "" if state.sane else f"The FP32 model is not sane, which no quantization mends: {state.said}."


def _state(cure: Cure) -> str:
    noise = cure.before.noise
    if noise is None:
        return f"The recipe gives no graph: {cure.before.problem}"
    said = f"The outputs of the quantized graph have {decibels(noise)} dB of signal over error"
    if noise <= GOOD:
        return f"{said}: little is lost, and little is to be gained."
    return f"{said}: the error is {100 * noise**0.5:.0f} % of the signal."


def _where(parts: Parts) -> str:
    one, other = parts.weights, parts.activations
    numbers = f"({decibels(one)} dB with weights alone quantized, {decibels(other)} dB with activations alone)"
    if one > MUCH * other:
        return f"Most of it comes from weights {numbers}."
    if other > MUCH * one:
        return f"Most of it comes from activations {numbers}."
    return f"Weights and activations have about equal parts in it {numbers}."


def _worst(layers: Sequence[LayerNoise], parts: Parts, found: Mapping[str, Sequence[Symptom]]) -> str:
    known = [one for one in layers if one.measured]
    total = sum(one.alone for one in known)
    if not known or total <= 0:
        return ""
    first = known[0]
    said = (
        f"The worst layer is {_called(first)}: quantized alone it leaves {decibels(first.alone)} dB, "
        f"{100 * first.alone / total:.0f} % of the noise of all layers one by one"
    )
    if len(first.ends) > 1 and first.worst > MUCH * first.alone:
        harmed = max(first.ends, key=first.ends.__getitem__)
        said += (
            f", and {decibels(first.worst)} dB of {harmed!r}, one of {len(first.ends)} that the outputs are joined of"
        )
    if first.left_out is not None and parts.both > 0:
        said += f"; with it left float, and all others quantized, {decibels(first.left_out)} dB"
    reasons = [symptom.said for symptom in found.get(first.site.layer, ())][:2]
    return f"{said}. {_sentence(reasons)}".strip()


def _widest(layers: Sequence[LayerNoise], found: Mapping[str, Sequence[Symptom]]) -> str:
    """Another layer than the first, whose channels spread most: it may hide behind noisier ones."""
    wide = {name: size for name, size in spreads(found).items() if size >= WIDE}
    if not wide or not layers:
        return ""
    name = max(wide, key=wide.__getitem__)
    if wide[name] <= spreads(found).get(layers[0].site.layer, 0.0):
        return ""
    said = max((one for one in found[name] if one.kind == "outlier_channel"), key=lambda one: one.size).said
    return f"Channels spread most in {name}: {said}."


def _called(one: LayerNoise) -> str:
    return "the input of the model" if one.site.layer == AT_INPUT else one.site.layer


def _sentence(reasons: Sequence[str]) -> str:
    joined = "; ".join(reasons)
    return f"{joined[0].upper()}{joined[1:]}." if joined else ""


def _do(cure: Cure) -> str:
    if not cure.alone:
        return "There was no time to try a remedy."
    if not cure.names:
        return "None of the remedies that were tried helps: keep the recipe."
    before = "no graph" if cure.before.noise is None else f"{decibels(cure.before.noise)} dB"
    after = "" if cure.noise is None else f": {before} -> {decibels(cure.noise)} dB"
    return f"What helps: {'; '.join(cure.said)}{after}."
