"""``onnxq``, as it starts: a command that a cache has done already needs none of what the others are made with.

Reading the command line takes Typer and pydantic, longer than all the rest. So what a command line said is kept with
what came of it.
"""

import sys
from itertools import zip_longest


def main() -> None:
    """The command line, from the cache or else whole."""
    if not _done_before(sys.argv[1:]):
        from onnxq.cli.main import main as whole

        whole()


def _done_before(words: list[str]) -> bool:
    folder = _option(words, "--cache")
    if words[:1] != ["quantize"] or folder is None:
        return False
    from onnxq.caching.commands import said_before
    from onnxq.cli.building import Building
    from onnxq.errors import OnnxqError

    try:
        asked = said_before(folder, words)
        if asked is None:
            return False
        building = Building(asked, remembered=True)
        with building.alone():
            return building.served()
    except (OnnxqError, OSError):  # which the whole command says
        return False


def _option(words: list[str], name: str) -> str | None:
    for word, following in zip_longest(words, words[1:]):
        if word == name:
            return following
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
    return None
