"""``onnxq evaluate``: how good the answers of models are, on the engines that will run them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.options import DATA, JsonFile, ModelOrCard, Preprocess, Quiet, SampleCount, Seed

EXAMPLES = """
Measure MODEL, and others beside it, on real engines and as the graph says: the same metric for all of them.

MODEL is an .onnx file, quantized or not, or a card, which brings test data, metric and preprocessing.

**Examples**

    onnxq evaluate digits_mobilenet --model digits.int8.onnx --engine simulation --engine onnxruntime --engine openvino

    onnxq evaluate model.int8.onnx --reference model.onnx --data test.npz --metric topk,k=5 --metric sqnr

    onnxq evaluate yolox.onnx --data images/ --preprocess steps.yaml --metric box_ap,labels=true.json,decoder=yolox

    onnxq evaluate depth.onnx --data test.npz --metric metrics.py:within_a_tenth
"""


def _engines() -> list[str]:
    from onnxq.evaluating.running import engine_names

    return list(engine_names())


def evaluate(
    model: ModelOrCard,
    others: Annotated[
        list[Path] | None,
        typer.Option("--model", "-m", help="A further model, beside MODEL; may be repeated.", rich_help_panel=DATA),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Samples with labels, as for `onnxq quantize`. [default: the card's test data]", rich_help_panel=DATA
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[,OPTION=VALUE]",
            help="top1, topk, box_ap, mean_iou; without labels agreement and sqnr; or your own script.py:function "
            "(docs/evaluate.md). May be repeated. [default: the card's]",
        ),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            "-e",
            help="onnxruntime, openvino, tensorrt, or simulation: the graph computed node by node. May be repeated. "
            "[default: onnxruntime]",
            autocompletion=_engines,
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="The FP32 model, for the first row: it runs on onnxruntime.", rich_help_panel=DATA),
    ] = None,
    preprocess: Preprocess = None,
    batch: Annotated[int, typer.Option(help="Samples per run, for which engines are built.", rich_help_panel=DATA)] = 1,
    samples: SampleCount = None,
    seed: Seed = 0,
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    from rich.console import Console

    from onnxq.cli.cards import card_of
    from onnxq.cli.progress import progress_bars
    from onnxq.evaluating.evaluate import evaluate as run
    from onnxq.evaluating.page import page
    from onnxq.facts import plain, versions
    from onnxq.files import check_writable, write_file
    from onnxq.preprocess import parse_preprocessing

    if json_file is not None:
        check_writable(json_file)
    with progress_bars(quiet) as progress:
        found = run(
            [card_of(model) or model, *(others or ())],
            data,
            metric=metric,
            engines=tuple(engine or ("onnxruntime",)),
            reference=reference,
            preprocessing=parse_preprocessing(preprocess) if preprocess is not None else None,
            batch=batch,
            samples=samples,
            seed=seed,
            progress=progress,
        )
    if json_file is not None:
        facts = {"versions": versions(), "evaluated": plain(found)}
        write_file(json_file, json.dumps(facts, indent=1).encode())
    if quiet:
        for problem in found.problems:
            print(f"FAILED: {problem}")
    else:
        Console(soft_wrap=False).print(page(found))
    if found.problems:
        raise typer.Exit(1)


evaluate.__doc__ = EXAMPLES
