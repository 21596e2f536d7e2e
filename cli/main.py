"""The ``onnxq`` command: one file per subcommand, and one way to end on an error."""

import io
import sys
from typing import Annotated

import typer

from onnxq.cli.cache import app as cache
from onnxq.cli.calibrate import calibrate
from onnxq.cli.check import check
from onnxq.cli.cmake_dir import cmake_dir
from onnxq.cli.compare import compare
from onnxq.cli.diagnose import diagnose
from onnxq.cli.evaluate import evaluate
from onnxq.cli.inspect import inspect
from onnxq.cli.merge import merge
from onnxq.cli.provenance import provenance
from onnxq.cli.quantize import quantize
from onnxq.cli.recipe import app as recipe
from onnxq.cli.report import report
from onnxq.cli.reproduce import reproduce
from onnxq.cli.retarget import retarget
from onnxq.cli.tune import tune
from onnxq.errors import OnnxqError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(inspect)
app.command()(quantize)
app.command()(calibrate)
app.command()(merge)
app.command()(evaluate)
app.command()(check)
app.command()(compare)
app.command()(diagnose)
app.command()(tune)
app.command()(retarget)
app.command()(report)
app.command()(provenance)
app.command()(reproduce)
app.command(name="cmake-dir")(cmake_dir)
app.add_typer(recipe, name="recipe")
app.add_typer(cache, name="cache")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"onnxq {version('onnxq')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Quantize ONNX models for real engines, read back what runs in integers, and compare the answers.

    Exit codes: 0 done; 1 an engine refused the graph, or a check failed; 2 something to mend, in one sentence.

    **Examples**

        onnxq quantize digits_mobilenet --backend openvino

        onnxq quantize --help
    """


def main() -> None:
    """Run the command line; whatever the user can mend is one line on stderr and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a pipe on Windows has cp1252, which lacks → and what names may have
    try:
        app()
    except OnnxqError as error:
        print(f"onnxq: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == 130:  # what Typer makes of an interrupt, without a word
            print("onnxq: interrupted; nothing half-written was left.", file=sys.stderr)
        raise
