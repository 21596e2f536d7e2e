"""Provenance as a text to read."""

from onnxq.provenance.provenance import Accuracy, Given, Provenance


def summary(told: Provenance) -> str:
    """One fact a line, then the recipe. A model may be anybody's: nothing in it may move a terminal's cursor."""
    together = [name for name in told.backends if name != told.backend]
    made = f"onnxq {told.command}, for {told.backend}" + (f", together with {', '.join(together)}" if together else "")
    facts = {
        "made by": made + (", weights of 7 bits (reduce range)" if told.reduce_range else ""),
        **_inputs(told.given),
        "versions": ", ".join(f"{name} {version}" for name, version in told.versions.items()),
        "accuracy": "not measured" if told.accuracy is None else _accuracy(told.accuracy),
    }
    width = max(map(len, facts))
    lines = [*(f"{name:<{width}}  {said}" for name, said in facts.items()), "recipe", *told.recipe.splitlines()]
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in lines)


def _inputs(given: Given) -> dict[str, str]:
    random = "" if given.seed is None else f"random numbers of seed {given.seed}, "
    files = {"statistics": given.statistics, "ranges": given.ranges}
    said = {} if given.preprocessing is None else {"preprocessing": str(dict(given.preprocessing))}
    return {
        "model": f"sha256 {given.model}",
        "samples": f"{random}{given.count}, sha256 {given.samples}",
        **said,
        **{name: f"sha256 {mark}" for name, mark in files.items() if mark is not None},
    }


def _accuracy(found: Accuracy) -> str:
    said = [] if found.metric is None else [f"{found.metric} {found.fp32} -> {found.graph} {found.unit or ''}".strip()]
    said += [] if found.sqnr_db is None else [f"SQNR {found.sqnr_db} dB"]
    return f"{', '.join(said) or 'no float output'}, on {found.samples} samples"
