"""``onnxq cache``: look at the folder that ``--cache`` fills, and empty it."""

from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.options import CacheSize

app = typer.Typer(help="Look at the folder that `onnxq quantize --cache` fills, and empty it.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="The folder that --cache names.", metavar="DIR")]
SHOW = """
Say what is in a cache: how many entries of each kind, how large, and when one was used last.

**Example**

    onnxq cache show .onnxq-cache
"""
CLEAR = """
Remove what is in a cache, or with `--cache-size` what was used longest ago until no more than that is left.

A folder that is no cache of onnxq is left alone. Builds that run at the same time do their work again, no worse.

**Examples**

    onnxq cache clear .onnxq-cache

    onnxq cache clear .onnxq-cache --cache-size 1G
"""


def show(folder: Folder) -> None:
    import time

    from onnxq.caching.size import said
    from onnxq.caching.store import KINDS, Store

    store = Store(folder)
    store.check()
    for kind in KINDS:
        entries = store.entries(kind)
        size = said(sum(size for size, _ in entries.values()))
        last = max((used for _, used in entries.values()), default=None)
        when = "" if last is None else f", used last {time.strftime('%Y-%m-%d %H:%M', time.localtime(last))}"
        typer.echo(f"{kind:<12}{len(entries):>6}  {size:>8}{when}")


def clear(folder: Folder, cache_size: CacheSize = None) -> None:
    from onnxq.caching.size import bytes_of
    from onnxq.caching.store import Store

    store = Store(folder, 0 if cache_size is None else bytes_of(cache_size))
    store.check()
    typer.echo(f"{folder}: {store.trim()} entries removed")


for command, examples in ((show, SHOW), (clear, CLEAR)):
    command.__doc__ = examples
    app.command()(command)
