"""Options that several commands have: one name, one meaning, one sentence."""

from pathlib import Path
from typing import Annotated

import typer

PLAN, OUT, BUILD = "What becomes integer", "What to write", "As a step of a build"
DATA = "What to calibrate and compare with"
CALIBRATORS = (
    "mse, auto, lp, entropy, percentile, minmax, mean_minmax, moving_average (docs/recipes.md), or a class of your "
    "own, module:Class"
)

ModelOrCard = Annotated[str, typer.Argument(help="An .onnx file, a card.yaml, or the name of a shipped card.")]
Samples = Annotated[
    str | None,
    typer.Option(
        help="Calibration samples: .npz, .npy, Polygraphy .json, a folder of these or of images, "
        "script.py:function, or `random` (smoke tests only). A card brings its own.",
        rich_help_panel=DATA,
    ),
]
Batch = Annotated[int | None, typer.Option(help="Samples per run. [default: by size]", rich_help_panel=DATA)]
Preprocess = Annotated[
    str | None,
    typer.Option(
        help="How images become inputs: `imagenet`, a YAML file, or YAML such as '{resize: 256, crop: 224}'.",
        rich_help_panel=DATA,
    ),
]
SampleCount = Annotated[int | None, typer.Option("--samples", help="Use the first N samples.", rich_help_panel=DATA)]
Seed = Annotated[int, typer.Option(help="Of random samples.", rich_help_panel=DATA)]
Cluster = Annotated[
    str | None,
    typer.Option(
        help="Calibrate on the workers of the Dask scheduler at this address, tcp://HOST:8786 (docs/cluster.md).",
        rich_help_panel=DATA,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(help="Keep nodes whose name matches this regular expression in float.", rich_help_panel=PLAN),
]
KeepFloat = Annotated[
    list[str] | None, typer.Option(help="Keep operators of this type in float.", rich_help_panel=PLAN)
]
FloatType = Annotated[
    str | None,
    typer.Option(
        "--float",
        help="What stays float computes in fp32, fp16 or bf16 (TensorRT only). [default: fp32]",
        rich_help_panel=PLAN,
    ),
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        help="A file, a folder, or a name with {backend} in it. [default: MODEL.BACKEND.onnx here]",
        rich_help_panel=OUT,
    ),
]
Build = Annotated[bool, typer.Option(help="Build the engines, time them and judge the answers.", rich_help_panel=OUT)]
Cache = Annotated[
    Path | None,
    typer.Option(
        help="Keep what is made in this folder, and take it from there (docs/build-systems.md).", rich_help_panel=BUILD
    ),
]
CacheSize = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="What was used longest ago goes first. [default: 5G]", rich_help_panel=BUILD),
]
Depfile = Annotated[
    Path | None, typer.Option(help="Write the names of all files read here, for Make and Ninja.", rich_help_panel=BUILD)
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done and written, and do nothing.", rich_help_panel=BUILD)
]
MaxDrop = Annotated[
    float | None,
    typer.Option(help="Fail where the card's metric falls by more, in its unit.", rich_help_panel=BUILD),
]
MinInt8 = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Fail where the engine runs less of the MACs in INT8.", rich_help_panel=BUILD),
]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write every fact as JSON here.", rich_help_panel=OUT)]
Report = Annotated[
    Path | None, typer.Option(help="Write a page, .html, or the summary, .svg or .txt, here.", rich_help_panel=OUT)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print problems only.", rich_help_panel=OUT)]
