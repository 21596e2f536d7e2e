"""What a command line said, option by option: what Typer makes of its words, which are the key."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from onnxq.caching.environment import environment
from onnxq.caching.store import Store

KIND = "commands"


def said_before(folder: str, words: Sequence[str]) -> Mapping[str, Any] | None:
    entry = Store(Path(folder)).find(KIND, _key(words))
    return None if entry is None else entry.about


def keep_said(store: Store, words: Sequence[str], asked: Mapping[str, object]) -> None:
    """Raises OutputError."""
    store.put(
        KIND, _key(words), {name: str(value) if isinstance(value, Path) else value for name, value in asked.items()}
    )


def _key(words: Sequence[str]) -> str:
    return sha256(json.dumps([list(words), environment()]).encode()).hexdigest()
