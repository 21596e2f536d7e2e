"""``onnxq tune``: the fastest graph that keeps the accuracy, and the recipe that makes it again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxq.cli.duration import seconds
from onnxq.cli.options import (
    DATA,
    OUT,
    PLAN,
    Exclude,
    JsonFile,
    KeepFloat,
    ModelOrCard,
    Preprocess,
    Quiet,
    SampleCount,
    Samples,
    Seed,
)
from onnxq.cli.outputs import backend_choices

if TYPE_CHECKING:
    from onnxq.tuning.tune import Tuned

EXAMPLES = """
Find the fastest graph of MODEL that keeps its accuracy: other calibrators and remedies first, then as few nodes in
float, or with more bits, as will do.

The best graph so far is always on disk, with the recipe that makes it and a journal: the same command goes on from
there. MODEL is a float model, or a card.

**Examples**

    onnxq tune digits_mobilenet --backend openvino --max-drop 0.5 --budget 10m

    onnxq tune model.onnx --data calibration.npz --test test.npz --metric top1 --max-drop 0.2 -o tuned.onnx

    onnxq tune model.onnx --data calibration.npz --metric agreement --max-drop 1 --weight-bits 4

    onnxq tune model.onnx --data shards/ --test test.npz --metric top1 --cluster tcp://HOST:8786
"""


def tune(
    model: ModelOrCard,
    data: Samples = None,
    test: Annotated[
        str | None,
        typer.Option(
            help="Samples that judge, with labels if the metric needs them. [default: the card's, or those of --data]",
            rich_help_panel=DATA,
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[,OPTION=VALUE]",
            help="top1, topk, box_ap, mean_iou; without labels agreement; or your own script.py:function "
            "(docs/evaluate.md). [default: the card's]",
        ),
    ] = None,
    max_drop: Annotated[float, typer.Option(help="How much of the metric may be lost, in its unit (points).")] = 0.5,
    budget: Annotated[
        float,
        typer.Option(
            metavar="TIME",
            parser=seconds,
            help="After which nothing further is begun: 90 (seconds), 10m, 1h.",
            show_default="10m",
        ),
    ] = "10m",  # type: ignore[assignment]  # it is parsed
    backend: Annotated[
        str,
        typer.Option("--backend", "-b", help="onnxruntime, openvino, ...", autocompletion=backend_choices),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Where the graph goes; beside it the recipe (.yaml) and the journal (.tune.jsonl). "
            "[default: MODEL.BACKEND.tuned.onnx here]",
            rich_help_panel=OUT,
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin again, whatever an earlier search left.", rich_help_panel=OUT)
    ] = False,
    preprocess: Preprocess = None,
    samples: SampleCount = None,
    seed: Seed = 0,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Samples per run of the engine that judges. [default: 16]", rich_help_panel=DATA),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Try candidates side by side on the workers of the Dask scheduler at this address, tcp://HOST:8786 "
            "(docs/cluster.md).",
            rich_help_panel=DATA,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A recipe's name or YAML file, from which the search begins. [default: default]", rich_help_panel=PLAN
        ),
    ] = None,
    per_tensor: Annotated[
        bool,
        typer.Option("--per-tensor", help="Begin with one scale per weight.", rich_help_panel=PLAN),
    ] = False,
    weight_bits: Annotated[
        str | None,
        typer.Option(
            metavar="BITS",
            help="Begin with so few, 2 to 8; layers get 8 before any is left in float. [default: the backend's]",
            rich_help_panel=PLAN,
        ),
    ] = None,
    exclude: Exclude = None,
    keep_float: KeepFloat = None,
    build: Annotated[
        bool, typer.Option(help="Judge on the engine, not as the graph is computed.", rich_help_panel=OUT)
    ] = True,
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    from rich.console import Console

    from onnxq.begin import backends_of
    from onnxq.cli.cards import card_of
    from onnxq.cli.outputs import keep_apart
    from onnxq.cli.progress import progress_bars
    from onnxq.facts import versions
    from onnxq.files import check_writable, write_file
    from onnxq.options import Options
    from onnxq.preprocess import parse_preprocessing
    from onnxq.recipe import load_recipe
    from onnxq.solving.widths import read_widths
    from onnxq.tuning.keeper import Keeper
    from onnxq.tuning.page import page
    from onnxq.tuning.tune import tune as run

    card = card_of(model)
    written = load_recipe(recipe or (card.recipe_path or card.recipe if card else "default"))
    (name,) = (entry.name for entry in backends_of(backend or written.backends[:1] or "onnxruntime"))
    graph = out or Path(f"{card.name if card else Path(model).stem}.{name}.tuned.onnx")
    if json_file is not None:
        check_writable(json_file)
    keep_apart([*Keeper(graph, name).files, json_file], [card.model_path if card else model, data, test, recipe])
    options = Options(
        samples=samples,
        seed=seed,
        per_tensor=per_tensor,
        weight_bits=read_widths(weight_bits) if weight_bits is not None else None,
        exclude=tuple(exclude or ()),
        keep_float=tuple(keep_float or ()),
        preprocessing=parse_preprocessing(preprocess) if preprocess is not None else None,
        cluster=cluster,
    )
    with progress_bars(quiet) as progress:
        found = run(
            card or model,
            data,
            test=test,
            metric=metric,
            max_drop=max_drop,
            budget=budget,
            backend=backend or None,
            recipe=written,
            options=options,
            batch=batch,
            deployed=build,
            out=graph,
            fresh=fresh,
            progress=progress,
        )
    if json_file is not None:
        write_file(json_file, json.dumps({"versions": versions(), "tuned": _facts(found)}, indent=1).encode())
    if not quiet:
        asked = {"data": data, "preprocess": preprocess, "samples": samples, "seed": seed or None}
        Console(soft_wrap=False).print(page(found, graph, _again(model, graph, asked)))
    if not found.keeps:
        if quiet:
            print(f"FAILED: no graph keeps the accuracy: {found.verdict}")
        raise typer.Exit(1)


tune.__doc__ = EXAMPLES


def _again(model: str, graph: Path, asked: Mapping[str, object]) -> str:
    """The command that makes the graph from its recipe."""
    import shlex

    words = ["onnxq", "quantize", model, "--recipe", str(graph.with_suffix(".yaml")), "-o", str(graph), "--no-build"]
    words += [word for name, value in asked.items() if value is not None for word in (f"--{name}", str(value))]
    return shlex.join(words)


def _facts(found: "Tuned") -> dict[str, object]:
    """The graph is in a file of its own, and so are the counterexamples."""
    from dataclasses import replace

    from onnxq.facts import plain

    facts = plain(replace(found, result=None, counterexamples=()))
    assert isinstance(facts, dict)
    kept = [{"number": one.number, "sample": one.sample, "noise": one.noise} for one in found.counterexamples]
    return {**facts, "counterexamples": kept, "keeps": found.keeps}
