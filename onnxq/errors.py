"""Every error onnxq means, as one tree. A message names the thing, the limit and the way out.

    OnnxqError
    ├── ModelError      the model cannot be read, or cannot be quantized
    ├── DataError       the samples do not fit the model, or are not numbers
    ├── RecipeError     a recipe, a card or an option is wrong
    ├── EngineError     the engine refused the graph
    │   └── EngineMissing   the engine is not installed; the message has the pip line
    ├── ClusterError    the cluster cannot be reached, or cannot do the work
    └── OutputError     a file cannot be written

``Declined`` stands apart: it is how a rewrite says why it leaves a node alone, and ends in the ledger.
"""

import difflib
from collections.abc import Iterable


class OnnxqError(Exception):
    """An error the user can mend; the command line prints it and exits with 2."""


class ModelError(OnnxqError):
    """The model cannot be read, or cannot be quantized."""


class DataError(OnnxqError):
    """The samples do not fit the model, or are not numbers."""


class RecipeError(OnnxqError):
    """A recipe, a card or an option is wrong."""


class EngineError(OnnxqError):
    """The engine refused the graph."""


class EngineMissing(EngineError):
    """The engine is not installed."""

    def __init__(self, engine: str, extra: str) -> None:
        super().__init__(f"{engine} is not installed. Install it with: pip install 'onnxq[{extra}]'")


class ClusterError(OnnxqError):
    """The cluster cannot be reached, or cannot do the work."""


class OutputError(OnnxqError):
    """A file cannot be written."""


class Declined(Exception):
    """A rewrite matched but may not be done; the reason reaches the report."""


def unknown(kind: str, name: str, valid: Iterable[str]) -> str:
    """A sentence for a name that is not one of ``valid``, with the nearest one."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"unknown {kind} {name!r}.{hint} Valid: {', '.join(names)}."
