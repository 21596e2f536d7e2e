"""Where it comes from: model, samples, recipe, versions, and the time that each stage took."""

from collections.abc import Mapping
from pathlib import PurePath

import yaml

from onnxq.html.markup import Html, tag
from onnxq.html.told import Told


def provenance(told: Told) -> Html:
    """The last section. Of files only names are told: a page is passed on, and folders are nobody's business."""
    files = [PurePath(file.replace("\\", "/")).name for entry in told.backends.values() for file in entry.files]
    given = {"model": told.model.replace("\\", "/").rsplit("/", 1)[-1], told.task: told.data}
    given |= {"written": ", ".join(files)} if files else {}
    seconds = {stage: f"{took:.2f} s" for stage, took in told.seconds.items()}
    recipe = yaml.safe_dump({"passes": [_step(step) for step in told.recipe]}, sort_keys=False, allow_unicode=True)
    return tag(
        "section",
        tag("h2", "Provenance"),
        tag("div", _list("Given", given), _list("Versions", told.versions), _list("Time", seconds), class_="columns"),
        tag("details", tag("summary", "Recipe"), tag("pre", recipe, tabindex=0)) if told.recipe else "",
        id="provenance",
    )


def _list(title: str, entries: Mapping[str, str]) -> Html:
    rows = [tag("div", tag("dt", name), tag("dd", said)) for name, said in entries.items()]
    return tag("div", tag("h3", title), tag("dl", *rows, class_="plain"), class_="block")


def _step(step: Mapping[str, object]) -> object:
    """A pass by its name alone where it has no options that were set."""
    ((name, options),) = step.items() if len(step) == 1 else ((str(step), None),)
    kept = {key: value for key, value in options.items() if value is not None} if isinstance(options, dict) else options
    return {name: kept} if kept else name
