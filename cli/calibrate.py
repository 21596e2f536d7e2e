"""``onnxq calibrate``: measure a model's tensors once, for every backend and every calibrator."""

from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.cards import card_of
from onnxq.cli.options import (
    OUT,
    PLAN,
    Batch,
    Cluster,
    ModelOrCard,
    Preprocess,
    Quiet,
    SampleCount,
    Samples,
    Seed,
)
from onnxq.cli.outputs import backend_choices, keep_apart

EXAMPLES = """
Measure on samples what MODEL's tensors hold, and write it, for `onnxq quantize --statistics` and `onnxq merge`.

What is written serves every calibrator and each of the backends. A run that was interrupted goes on where it was.

**Examples**

    onnxq calibrate digits_mobilenet -o digits.npz

    onnxq calibrate model.onnx --data calibration.npz --backend openvino -o statistics.npz

    onnxq calibrate model.onnx --data feeds.py:samples --cluster tcp://scheduler:8786 -o statistics.npz
"""


def calibrate(
    model: ModelOrCard,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file of statistics, .npz.", rich_help_panel=OUT)],
    data: Samples = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend",
            "-b",
            help="Whose graphs are measured. May be repeated. [default: onnxruntime, openvino and tensorrt]",
            autocompletion=backend_choices,
        ),
    ] = None,
    preprocess: Preprocess = None,
    samples: SampleCount = None,
    batch: Batch = None,
    seed: Seed = 0,
    recipe: Annotated[
        str | None,
        typer.Option(help="Its rewrites come first: a name or a YAML file. [default: default]", rich_help_panel=PLAN),
    ] = None,
    cluster: Cluster = None,
    quiet: Quiet = False,
) -> None:
    from onnxq.calibration import SUFFIX
    from onnxq.calibration import calibrate as run
    from onnxq.cli.progress import progress_bars
    from onnxq.files import check_writable
    from onnxq.options import Options
    from onnxq.preprocess import parse_preprocessing

    card = card_of(model)
    keep_apart([out, Path(f"{out}{SUFFIX}")], [card.model_path if card else model, data, recipe])
    check_writable(out)
    options = Options(
        samples=samples,
        batch=batch,
        seed=seed,
        preprocessing=None if preprocess is None else parse_preprocessing(preprocess),
        cluster=cluster,
    )
    with progress_bars(quiet) as progress:
        names = tuple(dict.fromkeys(backend)) if backend else None
        found = run(card or model, data, backend=names, recipe=recipe, options=options, out=out, progress=progress)
    if not quiet:
        typer.echo(f"{out}: {len(found.known)} tensors on {len(found.samples)} samples")


calibrate.__doc__ = EXAMPLES
