"""How long something may take, as people write it: 90, 90s, 10m, 1h."""

import re

import typer

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def seconds(text: str) -> float:
    """Raises BadParameter for what is no time, or none at all."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if found is None or float(found[1]) == 0:
        raise typer.BadParameter(f"{text!r} is no time. Write seconds, or 90s, 10m, 1h.")
    return float(found[1]) * UNITS[found[2]]
