"""Tables on the terminal, printed row by row as they are measured."""

from collections.abc import Iterable

WIDTH = 13


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """The first column, a name, is left-aligned; numbers have two decimals."""
    print(f"\n{title}\n{_line(columns)}", flush=True)
    for row in rows:
        print(_line(row), flush=True)


def _line(cells: Iterable[object]) -> str:
    first, *others = (f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells)
    return f"  {first:<24}" + "".join(f" {cell:>{WIDTH}}" for cell in others)
