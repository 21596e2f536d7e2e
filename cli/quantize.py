"""``onnxq quantize``: one model, one calibration, one graph for each backend."""

from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.building import Building
from onnxq.cli.cards import card_of
from onnxq.cli.options import (
    CALIBRATORS,
    DATA,
    OUT,
    PLAN,
    Batch,
    Build,
    Cache,
    CacheSize,
    Cluster,
    Depfile,
    DryRun,
    Exclude,
    FloatType,
    JsonFile,
    KeepFloat,
    MaxDrop,
    MinInt8,
    ModelOrCard,
    Out,
    Preprocess,
    Quiet,
    Report,
    SampleCount,
    Samples,
    Seed,
)
from onnxq.cli.outputs import backend_choices, every_file, keep_apart, places, range_places

EXAMPLES = """
Quantize MODEL for one or several backends, build the engines, and print what they run in integers.

MODEL is an .onnx file, a model card (card.yaml), or the name of a card that ships with onnxq.

**Examples**

    onnxq quantize digits_mobilenet --backend onnxruntime --backend openvino

    onnxq quantize model.onnx --data calibration.npz --backend openvino -o model.int8.onnx

    onnxq quantize model.onnx --data photos/ --preprocess imagenet --backend tensorrt

    onnxq quantize model.onnx --data feeds.py:samples --backend onnxruntime --exclude '/head/' --json facts.json

    onnxq quantize digits_mobilenet --backend openvino --no-build --ablate
"""


def _calibrators() -> list[str]:
    from onnxq.calibrators import calibrator_names

    return list(calibrator_names())


def _solvers() -> list[str]:
    from onnxq.solving import solver_names

    return list(solver_names())


def quantize(
    context: typer.Context,
    model: ModelOrCard,
    data: Samples = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend",
            "-b",
            help="onnxruntime, openvino, tensorrt, or a target that is simulated: snpe, qnn, tflite, vitis, ... "
            "(docs/targets.md). May be repeated. [default: onnxruntime]",
            autocompletion=backend_choices,
        ),
    ] = None,
    out: Out = None,
    preprocess: Preprocess = None,
    samples: SampleCount = None,
    batch: Batch = None,
    seed: Seed = 0,
    cluster: Cluster = None,
    statistics: Annotated[
        Path | None,
        typer.Option(help="What `onnxq calibrate` measured on these samples.", rich_help_panel=DATA),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="A recipe's name or YAML file. [default: default]", rich_help_panel=PLAN),
    ] = None,
    calibrator: Annotated[
        str | None,
        typer.Option(
            help=f"How ranges are chosen: {CALIBRATORS}. [default: mse]",
            rich_help_panel=PLAN,
            autocompletion=_calibrators,
        ),
    ] = None,
    ranges: Annotated[
        Path | None,
        typer.Option(
            help="Take these ranges as they are: TensorRT's calibration cache, or onnxruntime's calibration.json.",
            rich_help_panel=PLAN,
        ),
    ] = None,
    solver: Annotated[
        str | None,
        typer.Option(
            help="How weights are rounded: coordinate_descent, gptq, auto, adaround, bit_split, mse or nearest "
            "(docs/recipes.md), or a class of your own, module:Class. [default: coordinate_descent]",
            rich_help_panel=PLAN,
            autocompletion=_solvers,
        ),
    ] = None,
    per_tensor: Annotated[
        bool,
        typer.Option("--per-tensor", help="One scale per weight, not per channel.", rich_help_panel=PLAN),
    ] = False,
    weight_bits: Annotated[
        str | None,
        typer.Option(
            metavar="BITS",
            help="2 to 8; 4,first=8,last=8 for others in the first and last layers; budget=4.5 for an average that is "
            "spent where it helps most (docs/recipes.md). [default: the backend's]",
            rich_help_panel=PLAN,
        ),
    ] = None,
    activation_bits: Annotated[
        str | None,
        typer.Option(
            metavar="BITS",
            help="Of what layers read: 2 to 8, below 8 simulated, or 16 where the backend has that; 4,first=8,last=8 "
            "for others in the first and last layers (docs/low_bits.md). [default: the backend's]",
            rich_help_panel=PLAN,
        ),
    ] = None,
    block_size: Annotated[
        int | None,
        typer.Option(
            help="A scale for so many rows of weights, 16 to 256, where the layer computes in float.",
            rich_help_panel=PLAN,
        ),
    ] = None,
    pack: Annotated[
        str | None,
        typer.Option(
            help="Weights of up to 4 bits take no more in the file: auto (where the engine runs their layers all the "
            "same), always, never. [default: auto]",
            rich_help_panel=PLAN,
        ),
    ] = None,
    weights_only: Annotated[
        bool,
        typer.Option(
            "--weights-only",
            help="Store weights as integers, of 4 bits in blocks of 32 rows where nothing else is asked for, and "
            "compute in float. Needs no --data.",
            rich_help_panel=PLAN,
        ),
    ] = False,
    numbers: Annotated[
        str | None,
        typer.Option(
            help="What linear layers compute in: int8, or fp8 (TensorRT only, docs/low_bits.md). [default: int8]",
            rich_help_panel=PLAN,
        ),
    ] = None,
    exclude: Exclude = None,
    keep_float: KeepFloat = None,
    float_type: FloatType = None,
    reduce_range: Annotated[
        bool | None,
        typer.Option(
            help="Weights of 7 bits, for CPUs without VNNI. [default: as this CPU needs]",
            show_default=False,
            rich_help_panel=PLAN,
        ),
    ] = None,
    build: Build = True,
    ablate: Annotated[
        bool,
        typer.Option(
            "--ablate",
            help="Run the recipe again without each of its optional passes, and print what each of them brings.",
            rich_help_panel=OUT,
        ),
    ] = False,
    ranges_out: Annotated[
        str | None,
        typer.Option(
            help="Write ranges here: .cache as TensorRT has them, .json as onnxruntime has. {backend} where there are "
            "several.",
            rich_help_panel=OUT,
        ),
    ] = None,
    json_file: JsonFile = None,
    report: Report = None,
    cache: Cache = None,
    cache_size: CacheSize = None,
    depfile: Depfile = None,
    dry_run: DryRun = False,
    max_drop: MaxDrop = None,
    min_int8: MinInt8 = None,
    quiet: Quiet = False,
) -> None:
    building = Building({name: value for name, value in locals().items() if name != "context"})
    context.with_resource(building.alone())
    if building.served():
        return
    from onnxq.cli.preview import preview
    from onnxq.cli.progress import progress_bars
    from onnxq.options import Options
    from onnxq.pipeline import quantize as run
    from onnxq.preprocess import parse_preprocessing
    from onnxq.recipe import load_recipe
    from onnxq.solving.widths import read_widths

    card = card_of(model)
    written = load_recipe(recipe or (card.recipe_path or card.recipe if card else "default"))
    options = Options(
        calibrator,
        samples,
        batch,
        per_tensor,
        read_widths(weight_bits) if weight_bits is not None else None,
        block_size,
        pack,
        weights_only,
        numbers,
        tuple(exclude or ()),
        tuple(keep_float or ()),
        seed,
        build,
        parse_preprocessing(preprocess) if preprocess is not None else None,
        float_type,
        reduce_range,
        ranges,
        ranges_out is not None,
        cluster,
        statistics,
        read_widths(activation_bits, "--activation-bits") if activation_bits is not None else None,
        solver,
        json_file is not None or report is not None,
        building.store,
    )
    names = tuple(dict.fromkeys(backend or written.backends or ("onnxruntime",)))
    files = places(out, card.name if card else Path(model).stem, names, json_file, report)
    tables = range_places(ranges_out, names)
    keep_apart(
        [*every_file(files), *tables.values(), json_file, report, depfile],
        [card.model_path if card else model, data, recipe, ranges, statistics],
    )
    further = building.look(options.applied(written))
    if dry_run:
        preview(building, card, options, files, [*tables.values(), json_file, report, depfile], further)
        return
    with progress_bars(quiet) as progress:
        result = run(
            card or model, data, backend=names, recipe=written, options=options, ablate=ablate, progress=progress
        )
    building.finish(result, files, tables, further)


quantize.__doc__ = EXAMPLES
