"""``onnxq reproduce``: make a model again from what it tells of itself, and compare."""

from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.cards import card_of
from onnxq.cli.options import DATA, Quiet, Samples

EXAMPLES = """
Make MODEL again from what it tells of itself (`onnxq provenance`), and compare byte for byte.

Exit code 0: the same. 1: it differs, and what does is said: an input, a version, the accuracy, nodes, constants. No
engine is built, and nothing is written.

**Examples**

    onnxq reproduce model.openvino.onnx --model model.onnx --data calibration.npz

    onnxq reproduce digits_mobilenet.openvino.onnx --model digits_mobilenet
"""


def reproduce(
    model: Annotated[Path, typer.Argument(help="An .onnx file that `onnxq quantize` wrote.")],
    source: Annotated[str, typer.Option("--model", help="The FP32 model, or a model card: a path or a name.")],
    data: Samples = None,
    statistics: Annotated[
        Path | None, typer.Option(help="The statistics that it was made with.", rich_help_panel=DATA)
    ] = None,
    ranges: Annotated[
        Path | None, typer.Option(help="The file of ranges that it was made with.", rich_help_panel=DATA)
    ] = None,
    own_classes: Annotated[
        bool, typer.Option("--own-classes", help="Import the classes of your own that its recipe names.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    from onnxq.cli.progress import progress_bars
    from onnxq.provenance.reproduce import reproduce as run

    with progress_bars(quiet) as progress:
        found = run(
            model,
            card_of(source) or source,
            data,
            statistics=statistics,
            ranges=ranges,
            own_classes=own_classes,
            progress=progress,
        )
    if not found.same:
        typer.echo(f"{model}: not the same:")
        for line in found.differences:
            typer.echo("  " + "".join(c if c.isprintable() else "?" for c in line))
        raise typer.Exit(1)
    if not quiet:
        typer.echo("\n".join((f"{model}: the same, byte for byte", *(f"  {note}" for note in found.notes))))


reproduce.__doc__ = EXAMPLES
