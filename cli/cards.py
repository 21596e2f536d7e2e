"""What MODEL means on the command line: a file, or a model card by its path or its name."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxq.models.card import Card


def card_of(model: str) -> "Card | None":
    """The card MODEL means, or None for a model file."""
    from onnxq.errors import ModelError, unknown
    from onnxq.models.card import load_card, shipped_cards

    path, cards = Path(model), shipped_cards()
    if path.suffix in (".yaml", ".yml") or path.is_dir() or (not path.exists() and str(path) in cards):
        return load_card(path)
    if not path.exists() and not path.suffix:
        raise ModelError(f"{model}: no such file, and {unknown('card', model, cards)} Or give an .onnx file.")
    return None
