"""``onnxq diagnose``: where a quantized model loses its accuracy, and a recipe that keeps it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxq.cli.options import OUT, PLAN, JsonFile, ModelOrCard, Preprocess, Quiet, SampleCount, Samples, Seed
from onnxq.cli.outputs import backend_choices

if TYPE_CHECKING:
    from onnxq.diagnosing.diagnose import Diagnosed

EXAMPLES = """
Find out where MODEL loses accuracy when it is quantized: weights or activations, which layers, why, and what helps.

MODEL is a float model, or a card; the recipe is what is looked at. The result is a recipe for `onnxq quantize`.

**Examples**

    onnxq diagnose digits_mobilenet --backend openvino

    onnxq diagnose model.onnx --data calibration.npz --recipe mine.yaml --budget 60 -o better.yaml
"""


def diagnose(
    model: ModelOrCard,
    data: Samples = None,
    backend: Annotated[
        str,
        typer.Option("--backend", "-b", help="onnxruntime, openvino, ...", autocompletion=backend_choices),
    ] = "",
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A recipe's name or YAML file: what is diagnosed. [default: the card's, or default]",
            rich_help_panel=PLAN,
        ),
    ] = None,
    per_tensor: Annotated[
        bool,
        typer.Option("--per-tensor", help="One scale per weight, not per channel.", rich_help_panel=PLAN),
    ] = False,
    preprocess: Preprocess = None,
    samples: SampleCount = None,
    seed: Seed = 0,
    budget: Annotated[float, typer.Option(min=1, help="Seconds after which nothing further is begun.")] = 120,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the recommended recipe here.", rich_help_panel=OUT)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every layer.", rich_help_panel=OUT)] = False,
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    from rich.console import Console

    from onnxq.cli.cards import card_of
    from onnxq.cli.outputs import keep_apart
    from onnxq.cli.progress import progress_bars
    from onnxq.diagnosing.diagnose import diagnose as run
    from onnxq.diagnosing.page import page
    from onnxq.facts import versions
    from onnxq.files import check_writable, write_file
    from onnxq.options import Options
    from onnxq.preprocess import parse_preprocessing

    card = card_of(model)
    files = [path for path in (json_file, out) if path is not None]
    for path in files:
        check_writable(path)
    keep_apart([json_file, out], [card.model_path if card else model, data, recipe])
    steps = parse_preprocessing(preprocess) if preprocess is not None else None
    with progress_bars(quiet) as progress:
        found = run(
            card or model,
            data,
            backend=backend or None,
            recipe=recipe,
            options=Options(samples=samples, seed=seed, per_tensor=per_tensor, preprocessing=steps),
            budget=budget,
            progress=progress,
        )
    if json_file is not None:
        write_file(json_file, json.dumps({"versions": versions(), "diagnosed": _facts(found)}, indent=1).encode())
    if out is not None:
        write_file(out, found.recipe.encode())
    if not quiet:
        Console(soft_wrap=False).print(page(found, everything))
        if out is not None:
            print(f"\nThe recipe is in {out}: onnxq quantize {model} --recipe {out}")


diagnose.__doc__ = EXAMPLES


def _facts(found: "Diagnosed") -> dict[str, object]:
    """The recipe of the cure is left out: it stands beside it as YAML."""
    from onnxq.facts import plain

    facts = plain(found)
    assert isinstance(facts, dict) and isinstance(facts["cure"], dict)
    del facts["cure"]["recipe"]
    return facts
