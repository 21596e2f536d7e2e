"""``onnxq recipe``: look at recipes, check them, and print the schema by which editors complete them."""

from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.options import OUT
from onnxq.cli.outputs import keep_apart

app = typer.Typer(
    help="Show recipes, check them, and print the schema by which an editor completes them.", no_args_is_help=True
)

SHOW = """
Print a recipe as it runs: what it extends put in its place, every option spelled out.

**Examples**

    onnxq recipe show default

    onnxq recipe show mine.yaml -o resolved.yaml
"""
CHECK = """
Check recipes without a model: every field, what they extend, the order of their passes, the names of their backends.

It also says where one pass goes by other weights than another one makes.

An error names the file, the line, the field and the nearest valid one, and ends in exit code 2.

**Example**

    onnxq recipe check mine.yaml
"""
SCHEMA = """
Print the JSON schema of recipes, by which an editor with a YAML language server completes them.

The first line of a recipe names it:

    # yaml-language-server: $schema=recipe.schema.json

**Example**

    onnxq recipe schema -o recipe.schema.json
"""

Out = Annotated[Path | None, typer.Option("--out", "-o", help="A file, in place of printing it.", rich_help_panel=OUT)]


def show(
    name: Annotated[str, typer.Argument(help="A built-in recipe's name, or a YAML file.")], out: Out = None
) -> None:
    from onnxq.recipe import load_recipe
    from onnxq.recipes.text import recipe_text

    keep_apart([out], [name])
    _print(recipe_text(load_recipe(name)), out)


@app.command("list")
def list_() -> None:
    """Print the names of the built-in recipes, for `--recipe`, `extends:` and `onnxq recipe show`."""
    from onnxq.recipe import RECIPES

    for name, recipe in RECIPES.items():
        typer.echo(f"{name}: {len(recipe.passes)} passes")


def check(
    files: Annotated[list[str], typer.Argument(help="YAML files, or names of built-in recipes.", metavar="FILE...")],
) -> None:
    from onnxq.recipe import check_recipe
    from onnxq.recipes.order import disagreements

    for file in files:
        recipe = check_recipe(file)
        said = f", for {', '.join(recipe.backends)}" if recipe.backends else ""
        typer.echo(f"{file}: good: {len(recipe.passes)} passes{said}")
        for note in disagreements(recipe.passes):
            typer.echo(f"  {note}")


def schema(out: Out = None) -> None:
    from onnxq.recipes.schema import schema_text

    _print(schema_text(), out)


def _print(text: str, out: Path | None) -> None:
    from onnxq.files import write_file

    if out is None:
        typer.echo(text, nl=False)
    else:
        write_file(out, text.encode())


for command, examples in ((show, SHOW), (check, CHECK), (schema, SCHEMA)):
    command.__doc__ = examples
    app.command()(command)
