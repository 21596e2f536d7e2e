"""``onnxq compare``: the answers of two models beside each other, and gates that fail a build."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxq.cli.options import DATA, OUT, JsonFile, Preprocess, Quiet, Seed
from onnxq.cli.outputs import backend_choices

if TYPE_CHECKING:
    from onnxq.comparing.compare import Compared

EXAMPLES = """
Run MODEL A and MODEL B on the same inputs and compare what they answer, with Polygraphy's figures.

Each is an .onnx file, quantized or not, or a .json file that `polygraphy run --save-outputs` wrote. Graphs are
computed node by node, as they are written; with `--engine` B is built and run by that engine. A gate that is missed
ends with exit code 1.

**Examples**

    onnxq compare model.onnx model.int8.onnx --data test.npz --min-sqnr 25

    onnxq compare model.onnx model.int8.onnx --data test.npz --engine openvino --min-int8 0.95 --layers

    onnxq compare digits_mobilenet digits_mobilenet.openvino.onnx --engine openvino

    onnxq compare saved.json model.int8.onnx --data inputs.json
"""
GATES = "What must hold"


def compare(
    a: Annotated[
        str, typer.Argument(metavar="A", help="What is right: .onnx, saved outputs, or a card, with its data.")
    ],
    b: Annotated[Path, typer.Argument(metavar="B", help="An .onnx file, or saved outputs: what is judged.")],
    data: Annotated[
        str | None,
        typer.Option(
            help="Samples, as for `onnxq quantize`. [default: the card's, or random numbers]", rich_help_panel=DATA
        ),
    ] = None,
    preprocess: Preprocess = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Use the first N samples. [default: 64, or all with --metric]", rich_help_panel=DATA),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Samples per run; every run is judged. [default: 64]", rich_help_panel=DATA),
    ] = None,
    seed: Seed = 0,
    engine: Annotated[
        str | None,
        typer.Option(help="Build B for it: onnxruntime, openvino or tensorrt.", autocompletion=backend_choices),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Compare tensors that both graphs have, too.")] = False,
    min_sqnr: Annotated[
        float | None, typer.Option(help="Signal to error in dB, of every output in every run.", rich_help_panel=GATES)
    ] = None,
    min_cosine: Annotated[
        float | None, typer.Option(max=1, help="Cosine, of every output in every run.", rich_help_panel=GATES)
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Measure both, as `onnxq evaluate` does. [default: the card's]", rich_help_panel=GATES),
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help="How much less B may have of the metric.", rich_help_panel=GATES)
    ] = None,
    min_int8: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of B's MACs that the engine runs in INT8.", rich_help_panel=GATES),
    ] = None,
    save_inputs: Annotated[
        Path | None, typer.Option(help="Write them for `polygraphy run --load-inputs`.", rich_help_panel=OUT)
    ] = None,
    save_outputs: Annotated[
        Path | None, typer.Option(help="Write B's for `polygraphy run --load-outputs`.", rich_help_panel=OUT)
    ] = None,
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    from onnxq.cli.cards import card_of
    from onnxq.cli.outputs import keep_apart
    from onnxq.cli.progress import progress_bars
    from onnxq.comparing.compare import compare as run
    from onnxq.comparing.rows import Gates
    from onnxq.comparing.sides import save_inputs as write_inputs
    from onnxq.comparing.sides import save_outputs as write_outputs
    from onnxq.files import check_writable
    from onnxq.metrics import metric_of
    from onnxq.preprocess import parse_preprocessing

    card = None if a.endswith(".json") else card_of(a)
    first, source = (
        (Path(a), data) if card is None else (card.model_path, data or card.test_path or card.calibration_path)
    )
    steps = None if card is None else card.preprocessing
    written = [save_inputs, save_outputs, json_file]
    keep_apart(written, [first, b, data])
    for path in filter(None, written):
        check_writable(path)
    with progress_bars(quiet) as progress:
        found = run(
            first,
            b,
            data=source,
            engine=engine,
            batch=batch,
            count=samples,
            preprocessing=steps if preprocess is None else parse_preprocessing(preprocess),
            seed=seed,
            gates=Gates(min_sqnr, min_cosine),
            min_int8=min_int8,
            metric=metric or (metric_of(card) if card is not None and max_drop is not None else None),
            max_drop=max_drop,
            every_layer=layers,
            progress=progress,
        )
    if save_inputs is not None:
        write_inputs(found.feeds, save_inputs)
    if save_outputs is not None:
        write_outputs(found.second, save_outputs)
    _write(found, json_file, quiet)
    if found.missed:
        raise typer.Exit(1)


compare.__doc__ = EXAMPLES


def _write(found: "Compared", json_file: Path | None, quiet: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    from onnxq.comparing.page import page
    from onnxq.facts import plain, versions
    from onnxq.files import write_file

    if json_file is not None:
        write_file(json_file, json.dumps(plain({"versions": versions(), **found.facts}), indent=1).encode())
    console = Console(soft_wrap=False)
    if not quiet:
        console.print(page(found))
    for said in found.missed:
        console.print(Text(f"FAILED: {said}", "bold red"))
