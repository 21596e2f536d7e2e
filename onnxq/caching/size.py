"""Bytes in words: ``500M``, ``5G``."""

import re

from onnxq.errors import RecipeError

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def bytes_of(text: str) -> int:
    """Raises RecipeError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]?)B?", text.strip(), re.I)
    if match is None:
        raise RecipeError(f"--cache-size: {text!r} is no size. Write it as 500M or 5G.")
    return int(float(match[1]) * UNITS[match[2].upper()])


def said(size: int) -> str:
    for unit, scale in reversed(UNITS.items()):
        if size >= scale:
            return f"{size / scale:.3g} {unit}B"
    return "0 B"
