"""``onnxq retarget``: a model that is quantized already, as another engine wants it."""

from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.options import (
    CALIBRATORS,
    DATA,
    PLAN,
    Build,
    Exclude,
    FloatType,
    JsonFile,
    KeepFloat,
    Out,
    Preprocess,
    Quiet,
    Report,
    SampleCount,
    Seed,
)
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
    out: Out = None,
    preprocess: Preprocess = None,
    samples: SampleCount = None,
    seed: Seed = 0,
    calibrator: Annotated[
        str | None,
        typer.Option(help=f"How ranges are chosen for what has no grid: {CALIBRATORS}.", rich_help_panel=DATA),
    ] = None,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit",
            help="Where the engine has a faster grid for a range, take it, and give the learned scale up.",
            rich_help_panel=PLAN,
        ),
    ] = False,
    exclude: Exclude = None,
    keep_float: KeepFloat = None,
    float_type: FloatType = None,
    build: Build = True,
    json_file: JsonFile = None,
    report: Report = None,
    quiet: Quiet = False,
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
        portrayed=json_file is not None or report is not None,
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
