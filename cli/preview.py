"""``--dry-run``: what a run would read, do and write."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from onnxq.caching.further import Further
    from onnxq.cli.building import Building
    from onnxq.models.card import Card
    from onnxq.options import Options


def preview(
    building: "Building",
    card: "Card | None",
    options: "Options",
    files: Mapping[str, Path],
    aside: Iterable[Path | None],
    further: "Further | None",
) -> None:
    """Model, samples and recipe are read, so that what is wrong with them is said now. Raises OnnxqError."""
    from onnxq.cli.outputs import every_file

    reads = building.request.files(building.request.further(further.files if further is not None else ()))
    typer.echo(f"{building.asked['model']} for {', '.join(files)}")
    _tell("reads", map(str, reads))
    if building.kept() is not None:
        _tell("does", ["nothing: it is in the cache"])
    else:
        _tell("does", _stages(building, card, options, tuple(files)))
        if further is not None and further.declined is not None:
            _tell("", [f"keeps no graphs in the cache: {further.declined}"])
    _tell("writes", [str(path) for path in (*every_file(dict(files)), *aside) if path is not None])


def _stages(building: "Building", card: "Card | None", options: "Options", backends: tuple[str, ...]) -> list[str]:
    from onnxq.begin import begin, from_card, unsampled, written_recipe
    from onnxq.workspace import FloatRewrite, silent

    store = building.store
    if store is None or not store.folder.exists():
        options = replace(options, cache=None)
    data, recipe = building.asked["data"], building.asked["recipe"]
    if card is not None:
        data, recipe, options = from_card(card, data, recipe, options)
    written = written_recipe(recipe, options)
    if data is None:
        written, data = unsampled(written)
    model = card.model_path if card is not None else building.asked["model"]
    base = begin(model, data, backends, written, options, silent, build=options.build).base
    float_passes = [step.name for step in written.passes if isinstance(step, FloatRewrite)]
    known = 0 if base.record is None else len(base.record.measured.known)
    found = f"; {known} tensors were measured before" if known else ""
    return [
        f"prepare: {', '.join(float_passes) or 'nothing'}",
        f"calibrate: {base.samples.description}{found}",
        f"refine: {', '.join(step.name for step in written.passes if not isinstance(step, FloatRewrite))}",
        *(["build engines, and judge the answers"] if options.build else []),
        *(["ablate: each optional pass left out in turn"] if building.asked["ablate"] else []),
    ]


def _tell(what: str, lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(f"  {what:<8}{line}")
        what = ""
