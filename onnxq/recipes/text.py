"""A recipe as YAML, every option spelled out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from onnxq.recipe import Recipe

WIDTH = 120


def recipe_text(recipe: "Recipe", said: str = "") -> str:
    """What ``load_recipe`` reads as the same; ``said`` stands above it, as a comment."""
    return "".join(f"# {line}\n" for line in said.splitlines()) + text_of(recipe.written(), recipe.backends)


def text_of(written: Sequence[Mapping[str, Mapping[str, object]]], backends: Sequence[str] = ()) -> str:
    """Of passes as ``Recipe.written`` gives them."""
    passes = [{name: _plain(options)} if options else name for entry in written for name, options in entry.items()]
    backend = {"backend": backends[0] if len(backends) == 1 else list(backends)} if backends else {}
    return yaml.safe_dump({**backend, "passes": passes}, sort_keys=False, allow_unicode=True, width=WIDTH)


def _plain(value: object) -> object:
    """What YAML has: lists for tuples, and words for what a pass of the user's own may hold."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
