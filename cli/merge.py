"""``onnxq merge``: statistics of several data sets become those of all of them together."""

from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.options import OUT, Quiet
from onnxq.cli.outputs import keep_apart

EXAMPLES = """
Merge files that `onnxq calibrate` wrote for one model on different samples: the same as measuring on all of them.

**Example**

    onnxq merge monday.npz tuesday.npz -o both.npz
"""


def merge(
    statistics: Annotated[list[Path], typer.Argument(help="Two files or more, in the order of the samples.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The merged file, .npz.", rich_help_panel=OUT)],
    quiet: Quiet = False,
) -> None:
    from functools import reduce

    from onnxq.errors import DataError
    from onnxq.measured import Measured
    from onnxq.measured_file import load_measured, save_measured

    if len(statistics) < 2:
        raise DataError(f"{statistics[0]}: one file is nothing to merge. Give two or more.")
    keep_apart([out], list(statistics))
    total = reduce(Measured.merge, [load_measured(path) for path in statistics])
    save_measured(total, out)
    if not quiet:
        typer.echo(f"{out}: {len(total.known)} tensors on {len(total.samples)} samples")


merge.__doc__ = EXAMPLES
