"""``onnxq retarget``: a model that is quantized already, as another engine wants it."""

from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.outputs import backend_choices, every_file, keep_apart, places, write

EXAMPLES = """
Turn a quantized MODEL into the graph another engine wants, keeping its learned scales and integers.

MODEL has Q/DQ nodes (exported from quantization-aware training, made by another quantizer, or by onnxq for another
backend), or operators on integers (QLinearConv, MatMulInteger, ...). Grids that the engine can express are kept
exactly; what cannot be is listed, with the reason. The answers are compared with those of MODEL.

Without `--data` only what is integer in MODEL stays integer. Engines differ in what they want quantized, so some layers
may stay in float for want of a grid: the report names them, and `--data` has samples to calibrate these.

**Examples**

    onnxq retarget qat.onnx --backend tensorrt -o qat.trt.onnx

    onnxq retarget model.openvino.onnx --backend onnxruntime --data calibration.npz

    onnxq retarget model.qoperator.onnx --backend openvino --refit --json facts.json
"""
DATA, PLAN, OUT = "What to compare and calibrate with", "What to keep", "What to write"


def retarget(
    model: Annotated[Path, typer.Argument(help="An .onnx file that is quantized.")],
    backend: Annotated[
        list[str],
        typer.Option(
            "--backend",
            "-b",
            help="The engine it is for; may be repeated.",
            autocompletion=backend_choices,
            show_default=False,
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Samples: .npz, .npy, Polygraphy .json, a folder of these or of images, or script.py:function. They "
            "calibrate what has no grid, and answers are compared on them. [default: random, within learned ranges]",
            rich_help_panel=DATA,
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="A file, a folder, or a name with {backend} in it. [default: MODEL.BACKEND.onnx here]",
            rich_help_panel=OUT,
        ),
    ] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(
            help="How images become inputs: `imagenet`, a YAML file, or YAML such as '{resize: 256, crop: 224}'.",
            rich_help_panel=DATA,
        ),
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Use the first N samples.", rich_help_panel=DATA)] = None,
    seed: Annotated[int, typer.Option(help="Of random samples.", rich_help_panel=DATA)] = 0,
    calibrator: Annotated[
        str | None,
        typer.Option(
            help="How ranges are chosen for what has no grid: mse, minmax or percentile.", rich_help_panel=DATA
        ),
    ] = None,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit",
            help="Where the engine has a faster grid for a range, take it, and give the learned scale up.",
            rich_help_panel=PLAN,
        ),
    ] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Keep nodes whose name matches this regular expression in float.", rich_help_panel=PLAN),
    ] = None,
    keep_float: Annotated[
        list[str] | None, typer.Option(help="Keep operators of this type in float.", rich_help_panel=PLAN)
    ] = None,
    float_type: Annotated[
        str | None,
        typer.Option(
            "--float",
            help="What stays float computes in fp32, fp16 or bf16 (TensorRT only); scales are rounded to that type. "
            "[default: fp32]",
            rich_help_panel=PLAN,
        ),
    ] = None,
    build: Annotated[
        bool, typer.Option(help="Build the engines, time them and compare the answers.", rich_help_panel=OUT)
    ] = True,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write every fact as JSON here.", rich_help_panel=OUT)
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write the summary as .html, .svg or .txt here.", rich_help_panel=OUT)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=OUT)] = False,
) -> None:
    from onnxq.cli.progress import progress_bars
    from onnxq.options import Options
    from onnxq.preprocess import parse_preprocessing
    from onnxq.retargeting.retarget import retarget as run

    options = Options(
        calibrator=calibrator,
        samples=samples,
        exclude=tuple(exclude or ()),
        keep_float=tuple(keep_float or ()),
        seed=seed,
        build=build,
        preprocessing=parse_preprocessing(preprocess) if preprocess is not None else None,
        float_type=float_type,
    )
    names = tuple(dict.fromkeys(backend))
    files = places(out, model.stem, names, json_file, report)
    keep_apart([*every_file(files), json_file, report], [model, data])
    with progress_bars(quiet) as progress:
        result = run(model, names, data, options=options, refit=refit, progress=progress)
    write(result, files, json_file, report, quiet)
    if any(entry.problem for entry in result.backends.values()):
        raise typer.Exit(1)


retarget.__doc__ = EXAMPLES
