"""``onnxq report``: the page of a result, made later from its facts."""

from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.options import OUT, Quiet
from onnxq.cli.outputs import keep_apart

EXAMPLES = """
Draw the facts that `onnxq quantize --json` wrote as one HTML page: what runs in integers, what each layer's integers
cost, the values of activations with the ranges chosen, and every reason. The page fetches nothing.

**Example**

    onnxq report facts.json -o report.html
"""


def report(
    facts: Annotated[Path, typer.Argument(help="What --json wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page, .html.", rich_help_panel=OUT)],
    quiet: Quiet = False,
) -> None:
    from onnxq.errors import OutputError
    from onnxq.files import check_writable, write_file
    from onnxq.html import page, read_facts

    if out.suffix != ".html":
        raise OutputError(f"{out}: the page ends in .html.")
    keep_apart([out], [facts])
    check_writable(out)
    text = page(read_facts(facts))
    write_file(out, text.encode())
    if not quiet:
        typer.echo(f"{out}: {len(text.encode()) / 1e3:.0f} kB")


report.__doc__ = EXAMPLES
