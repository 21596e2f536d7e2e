"""``onnxq inspect``: what can be told of a model before any data is given."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxq.cli.cards import card_of
from onnxq.cli.options import OUT, PLAN, JsonFile, ModelOrCard
from onnxq.cli.outputs import backend_choices

if TYPE_CHECKING:
    from onnxq.inspection.inspect import Inspected

EXAMPLES = """
Show what is in MODEL, what would become integer for each backend and what not and why, and which weights spread.

Needs no data, and no engine. MODEL is an .onnx file, a model card (card.yaml), or the name of a card that ships with
onnxq.

**Examples**

    onnxq inspect model.onnx

    onnxq inspect digits_mobilenet --backend openvino --backend snpe --all

    onnxq inspect model.onnx --shape tokens:1,128 --json facts.json
"""


def inspect(
    model: ModelOrCard,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend",
            "-b",
            help="onnxruntime, openvino and tensorrt, the default, or a target (docs/targets.md); may be repeated.",
            rich_help_panel=PLAN,
            autocompletion=backend_choices,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A recipe's name or YAML file, whose plan is shown. [default: default]", rich_help_panel=PLAN
        ),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME:1,3,224,224, the shape of an input whose sizes are free, to count work; may be repeated."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every operator, reason and weight.", rich_help_panel=OUT)
    ] = False,
    json_file: JsonFile = None,
) -> None:
    from onnxq.cli.outputs import keep_apart
    from onnxq.files import check_writable
    from onnxq.inspection.inspect import inspect as run
    from onnxq.inspection.sample_shapes import read_shape

    card = card_of(model)
    if json_file is not None:
        keep_apart([json_file], [card.model_path if card else model, recipe])
        check_writable(json_file)
    found = run(card or model, backend=backend, recipe=recipe, shapes=dict(map(read_shape, shape or ())))
    _write(found, json_file, everything)


inspect.__doc__ = EXAMPLES


def _write(found: "Inspected", json_file: Path | None, everything: bool) -> None:
    from rich.console import Console

    from onnxq.facts import plain, versions
    from onnxq.files import write_file
    from onnxq.inspection.page import page

    if json_file is not None:
        facts = plain(found)
        assert isinstance(facts, dict)
        write_file(json_file, json.dumps({**facts, "versions": versions()}, indent=1).encode())
    Console(soft_wrap=False).print(page(found, everything))
