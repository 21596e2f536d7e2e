"""What a rule says of a node."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, get_args

if TYPE_CHECKING:
    from onnxq.lint.view import View

Severity: TypeAlias = Literal["rejected", "wrong", "float", "slow"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # the worst first


@dataclass(frozen=True)
class Finding:
    """``severity``: the engine has it ``rejected``, computes ``wrong`` answers, silently computes in ``float``, or is
    ``slow``. ``why`` it matters and how to ``mend`` it are sentences; findings of one rule and one cause share them.

    ``crashes``: the engine does not refuse but brings the process down, so the model must not be built.
    """

    rule: str
    node: str
    severity: Severity
    why: str
    mend: str
    crashes: bool = False


class Lint(Protocol):
    """A rule: what it finds in a quantized graph."""

    def __call__(self, view: "View", /) -> Iterator[Finding]: ...
