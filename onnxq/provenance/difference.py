"""In plain words, what differs between two models that should be one."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict

import onnx

from onnxq.provenance.provenance import Given, Provenance

INPUTS = {
    "model": "the FP32 model is another one, or another version of it",
    "samples": "the samples are other ones, or in another order",
    "preprocessing": "the preprocessing is another one",
    "statistics": "the statistics are other ones",
    "ranges": "the file of ranges is another one",
}
DIGITS = 12  # of a fingerprint: enough to tell two apart by eye


def of_inputs(then: Given, now: Given) -> list[str]:
    """A sentence for each input that is not the same."""
    if then.count != now.count:
        return [f"samples: {then.count} then, {now.count} now"]
    return [
        f"{name}: {said} ({_short(getattr(then, name))} then, {_short(getattr(now, name))} now)"
        for name, said in INPUTS.items()
        if getattr(then, name) != getattr(now, name)
    ]


def of_circumstances(then: Provenance, now: Provenance) -> list[str]:
    """What else may have led elsewhere: versions first, and then what came out."""
    found = [f"version of {line}" for line in _changed(then.versions, now.versions)]
    found += [f"recipe: this onnxq has other options in it: {line}" for line in _lines(then.recipe, now.recipe)]
    measured = [asdict(one.accuracy) if one.accuracy is not None else {} for one in (then, now)]
    return found + [f"accuracy: {line}" for line in _changed(measured[0], measured[1])]


def of_graphs(then: onnx.ModelProto, now: onnx.ModelProto) -> list[str]:
    """What the models compute."""
    found = []
    before, after = ([node.SerializeToString(deterministic=True) for node in m.graph.node] for m in (then, now))
    if before != after:
        moved = sum(one != other for one, other in zip(before, after, strict=False))
        found.append(f"graph: {len(before)} nodes then, {len(after)} now; {moved} are others in their place")
    had, has = _constants(then), _constants(now)
    if names := [name for name in had if name in has and had[name] != has[name]]:
        found.append(f"constants: {len(names)} of {len(had)} differ, the first is {names[0]!r}")
    for said, alone in (("gone", sorted(had.keys() - has.keys())), ("new", sorted(has.keys() - had.keys()))):
        if alone:
            found.append(f"constants: {len(alone)} are {said}, the first is {alone[0]!r}")
    return found


def _constants(model: onnx.ModelProto) -> dict[str, bytes]:
    return {tensor.name: tensor.SerializeToString(deterministic=True) for tensor in model.graph.initializer}


def _changed(then: Mapping[str, object], now: Mapping[str, object]) -> Iterable[str]:
    for name in dict.fromkeys((*then, *now)):
        if then.get(name) != now.get(name):
            yield f"{name}: {_shown(then.get(name))} then, {_shown(now.get(name))} now"


def _lines(then: str, now: str) -> list[str]:
    """Lines of a text that are in one of the two only."""
    before, after = ([line.strip(" -") for line in text.splitlines()] for text in (then, now))
    return list(dict.fromkeys([*(x for x in after if x not in before), *(x for x in before if x not in after)]))


def _shown(value: object) -> str:
    return "none" if value is None else str(value)


def _short(value: object) -> str:
    return value[:DIGITS] if isinstance(value, str) else _shown(value)
