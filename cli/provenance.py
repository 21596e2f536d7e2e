"""``onnxq provenance``: what a model tells of where it comes from."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.options import OUT

EXAMPLES = """
Print what a MODEL that onnxq wrote tells of itself: SHA-256 of the FP32 model and of the samples it was made of, the
versions that decide, how accurate its graph was, and the recipe, every option spelled out.

**Examples**

    onnxq provenance model.openvino.onnx

    onnxq provenance model.openvino.onnx --json > provenance.json
"""


def provenance(
    model: Annotated[Path, typer.Argument(help="An .onnx file that onnxq wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUT)] = False,
) -> None:
    from onnxq.provenance import read_provenance
    from onnxq.provenance.summary import summary

    found = read_provenance(model)
    typer.echo(json.dumps(asdict(found), indent=1) if as_json else summary(found))


provenance.__doc__ = EXAMPLES
