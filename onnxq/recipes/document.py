"""What a recipe's file says, with the lines on which it says so."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from onnxq.validation import read_yaml

WORDS = re.compile(r"[^\s:'\"]+")


@dataclass(frozen=True)
class Document:
    """``where`` names it in errors. ``root`` is None for a mapping from Python, which has no lines; paths in it start
    from ``folder``."""

    value: Mapping[str, object]
    where: str
    root: yaml.Node | None = None
    folder: Path = Path()

    @staticmethod
    def read(path: Path) -> "Document":
        """Raises RecipeError."""
        value, root = read_yaml(path)
        return Document(value, str(path), root, path.parent)

    def at(self, *keys: str | int, said: str = "") -> str:
        """The file and the line of what is under the ``keys``, one below the other, and below those of them that
        ``said``, a sentence about it, names in that order."""
        line, node = None, self.root
        for key in keys:
            found = _child(node, key)
            if found is not None:
                line, node = found
        for word in WORDS.findall(said):
            for part in str(word).rstrip(".,;").split("."):
                found = _child(node, part)
                if found is not None:
                    line, node = found
        return self.where if line is None else f"{self.where}, line {line}"


def _child(node: yaml.Node | None, key: str | int) -> tuple[int, yaml.Node] | None:
    """The line on which it starts, counted from 1, and the node itself."""
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        item: yaml.Node = node.value[key]
        return item.start_mark.line + 1, item
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value == key:
                return name.start_mark.line + 1, value
    return None
