"""A recipe as YAML, every option spelled out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from onnxq.recipe import Recipe

WIDTH = 120


def recipe_text(recipe: "Recipe", said: str = "") -> str:
    """What ``load_recipe`` reads as the same; ``said`` stands above it, as a comment."""
    passes = [
        {name: _plain(options)} if options else name for entry in recipe.written() for name, options in entry.items()
    ]
    names = recipe.backends
    backend = {"backend": names[0] if len(names) == 1 else list(names)} if names else {}
    head = "".join(f"# {line}\n" for line in said.splitlines())
    return head + yaml.safe_dump({**backend, "passes": passes}, sort_keys=False, allow_unicode=True, width=WIDTH)


def _plain(value: object) -> object:
    """What YAML has: lists for tuples."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
