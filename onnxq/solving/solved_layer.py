"""What is told of each layer's weights: who solved them, how well, and in what time."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from statistics import median

WORST = 3  # layers that are told one by one
NEAREST = "nearest"
STAGE = "round_weights"  # by which the ledger is told of weights


@dataclass(frozen=True)
class SolvedLayer:
    """One weight, by the ``layer`` that has it.

    ``relative_error``: ``tr((W - Q) H (W - Q)^T)`` over that of the nearest integers of as many bits, whose grid
    reaches the largest value; None where no moments tell. ``clipped``: the share of values beyond the grid; ``why``: so
    many bits. ``seconds`` differ from run to run, so nothing that is written into a model may depend on them.
    """

    layer: str
    solver: str
    bits: int
    relative_error: float | None
    clipped: float
    seconds: float
    why: str = ""


def told(layers: Collection[SolvedLayer]) -> Iterator[str]:
    """A line for all of them and one for each of the worst; nothing where all were only rounded to nearest."""
    if all(one.solver == NEAREST for one in layers):
        return
    solvers = Counter(one.solver for one in layers).most_common()
    seconds, clipped = sum(one.seconds for one in layers), max(one.clipped for one in layers)
    said = ", ".join(f"{count} by {solver}" for solver, count in solvers)
    said += f" in {seconds:.1f} s, at most {100 * clipped:.1f} % clipped"
    known = sorted(_errors(layers), key=lambda pair: pair[0])
    middle = f"; {median(error for error, _ in known):.2f} of the error of rounding to nearest" if known else ""
    yield said + middle
    for error, one in reversed(known[-WORST:] if len(known) > WORST else []):
        yield f"{error:.2f} of it in {one.layer!r}: {one.bits} bits by {one.solver}, {100 * one.clipped:.1f} % clipped"


def _errors(layers: Collection[SolvedLayer]) -> Iterator[tuple[float, SolvedLayer]]:
    yield from ((one.relative_error, one) for one in layers if one.relative_error is not None)
