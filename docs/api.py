"""The API reference, from docstrings: ``python docs/api.py FOLDER``."""

import html
import importlib
import sys
import warnings
from pathlib import Path

import onnxq

MODULES = (
    "onnxq",
    "onnxq.backends.backend",
    "onnxq.backends.tables",
    "onnxq.backends.encodings",
    "onnxq.graph",
    "onnxq.ledger",
    "onnxq.plan",
    "onnxq.result",
    "onnxq.rewriting",
    "onnxq.scheme",
    "onnxq.solving",
    "onnxq.statistics",
    "onnxq.testing",
    "onnxq.workspace",
)
"""What models are quantized with, and what passes, calibrators, solvers and backends are written with."""


def write(folder: Path) -> None:
    """Whatever pdoc finds fault with is an error."""
    import pdoc

    vars(onnxq).update({name: getattr(onnxq, name) for name in onnxq.__all__})  # pdoc looks no further than these
    for name in MODULES:
        importlib.import_module(name)
    pdoc.render.configure(docformat="restructuredtext", footer_text=f"onnxq {_version()}", show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.pdoc(*MODULES, output_directory=folder)
    (folder / "index.html").write_text(_index(), encoding="utf-8")


def _index() -> str:
    """pdoc's own leads to ``onnxq`` alone, from which the others are not linked."""
    rows = []
    for name in MODULES:
        said = html.escape((sys.modules[name].__doc__ or "").partition("\n\n")[0])
        rows.append(f'<dt><a href="{name.replace(".", "/")}.html">{name}</a></dt><dd>{said}</dd>')
    title = f"onnxq {_version()}: API reference"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>body{{font:16px sans-serif;max-width:45em;margin:2em auto;padding:0 1em}}"
        f"dd{{margin:0 0 1em}}</style><h1>{title}</h1><dl>{''.join(rows)}</dl></html>\n"
    )


def _version() -> str:
    from importlib.metadata import version

    return version("onnxq")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
