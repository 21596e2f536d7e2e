"""What was changed, what was declined, and why: nothing onnxq does is silent."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["changed", "declined", "float", "clipped", "warning"]


@dataclass(frozen=True)
class Entry:
    """One fact: which ``stage`` did or declined what, at which node or tensor, in words a user understands.

    ``float`` entries say why a node stays in floating point, ``clipped`` ones what was cut to fit an integer.
    ``detail`` is what of the reason differs from one subject to the next, so that reports can merge the others.
    """

    kind: Kind
    stage: str
    subject: str
    reason: str
    op_type: str = ""
    detail: str = ""


@dataclass
class Ledger:
    """Entries in the order they happened; a fact said twice is kept once."""

    entries: dict[Entry, None] = field(default_factory=dict)  # a set that keeps its order

    def add(self, kind: Kind, stage: str, subject: str, reason: str, op_type: str = "", detail: str = "") -> None:
        self.entries[Entry(kind, stage, subject, reason, op_type, detail)] = None

    def copy(self) -> "Ledger":
        return Ledger(dict(self.entries))

    def of(self, kind: Kind) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind == kind]

    def reasons(self, kind: Kind) -> list[tuple[str, int]]:
        """Reasons of one kind with how often each was given, most frequent first."""
        return Counter(entry.reason for entry in self.of(kind)).most_common()
