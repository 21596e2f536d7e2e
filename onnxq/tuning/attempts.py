"""Try candidates in their order until one keeps the accuracy, here or side by side on a cluster, and keep the best.

Those of one round see the counterexamples that were there when it began, so that the search takes the same course for
any number of workers.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from onnxq.tuning.candidate import Candidate, Outcome
from onnxq.tuning.counterexamples import Counterexamples
from onnxq.tuning.journal import Journal
from onnxq.tuning.trials import Tried
from onnxq.workspace import Progress


class Spread(Protocol):
    """Tries candidates and gives what came of them in their order; what nobody waits for need not be tried."""

    def __call__(self, candidates: Sequence[Candidate], known: Counterexamples) -> Iterator[Tried]: ...


@dataclass
class Attempts:
    """``outcomes``: of all candidates, in the order in which they were tried; ``best`` of them is handed to ``save`` as
    it is found. Nothing is begun that would likely not be done at ``end``."""

    spread: Spread
    journal: Journal
    save: Callable[[Candidate, Outcome], None]
    end: float
    progress: Progress
    outcomes: list[Outcome] = field(default_factory=list)
    best: tuple[Candidate, Outcome] | None = None
    longest: float = 0.0

    def __call__(self, candidates: Sequence[Candidate]) -> Candidate | None:
        """The first of them that keeps the accuracy, as long as there is time."""
        met = {outcome.word for outcome in self.outcomes}
        every = list({one.word: one for one in candidates}.values())
        unknown = [one for one in every if one.word not in self.journal.known]
        trying = self.spread(unknown, self.journal.counterexamples)
        for candidate in every:
            outcome = self.journal.known.get(candidate.word)
            fresh = outcome is None
            if outcome is None:
                if not self.time_left():
                    return None
                self.progress("try recipes", len(self.outcomes), None)
                tried = next(trying)
                outcome = tried.outcome
                self.longest = max(self.longest, outcome.seconds)
                self.journal.add(outcome, () if outcome.keeps else tried.found)
            if candidate.word not in met:
                self.outcomes.append(outcome)
                self._compare(candidate, outcome, fresh)
            if outcome.keeps:
                return candidate
        return None

    def _compare(self, candidate: Candidate, outcome: Outcome, fresh: bool) -> None:
        """What an earlier run tried is not saved: it has been, or something better has."""
        if outcome.better(self.best[1] if self.best else None):
            self.best = candidate, outcome
            if fresh:
                self.save(candidate, outcome)

    def outcome(self, candidate: Candidate) -> Outcome | None:
        """What came of it, if it was tried."""
        return self.journal.known.get(candidate.word)

    def time_left(self) -> bool:
        """Whether there is time for one more."""
        return time.perf_counter() + self.longest < self.end
