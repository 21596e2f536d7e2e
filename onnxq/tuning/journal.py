"""What a search has found, on disk, so that an interrupted one goes on from there: a line for each candidate.

{"format": ..., "search": <word>}               what it is a search for, and with what
{"counterexample": 17, "noise": ..., ...}       one of those in the file beside it, in their order
{"said": ..., "word": ..., "value": ...}        an outcome
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from onnxq.comparing.sides import save_inputs
from onnxq.errors import DataError, OutputError
from onnxq.execute import Session
from onnxq.files import write_file
from onnxq.inputs import InputSpec
from onnxq.samples import open_samples
from onnxq.tuning.candidate import Outcome
from onnxq.tuning.counterexamples import Counterexample, Counterexamples

FORMAT = "onnxq tune 1"
MEND = "Begin again with --fresh, or choose another -o."


@dataclass
class Journal:
    """``known``: outcomes by the word of their candidate. ``beside``: the file of counterexamples, in Polygraphy's
    form. Without a path it is forgotten."""

    path: Path | None
    search: str
    known: dict[str, Outcome] = field(default_factory=dict)
    counterexamples: Counterexamples = field(default_factory=Counterexamples)

    @staticmethod
    def opened(path: Path | None, search: str, inputs: Sequence[InputSpec], source: Session) -> "Journal":
        """With what is there of the same search; ``source`` answers the counterexamples. Raises OutputError where the
        file is of another search, or damaged."""
        journal = Journal(path, search)
        if path is None or not path.exists():
            return journal
        try:
            head, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
            outcomes = [Outcome(**line) for line in lines if "word" in line]
            numbers = [line for line in lines if "word" not in line]
            if head != journal._head:
                said = "another model, recipe, metric or limit, other samples, or other versions of onnxq or an engine"
                raise OutputError(f"{path}: is of another search ({said}). {MEND}")
            journal.known = {one.word: one for one in outcomes}
            if numbers:
                feeds = [dict(batch.feeds) for batch in open_samples(journal.beside, inputs).batches(1)]
                kept = (
                    Counterexample(line["counterexample"], feed, source.run(feed), line["sample"], line["noise"])
                    for line, feed in zip(numbers, feeds, strict=True)
                )
                journal.counterexamples = Counterexamples(tuple(kept))
        except OSError as error:
            raise OutputError(f"{path}: cannot be read: {error.strerror}. {MEND}") from error
        except (ValueError, TypeError, KeyError, DataError) as error:
            raise OutputError(f"{path}: is not what `onnxq tune` writes, or is damaged. {MEND}") from error
        return journal

    @property
    def beside(self) -> Path:
        """The file of counterexamples."""
        assert self.path is not None
        return self.path.with_suffix(".counterexamples.json")

    def add(self, outcome: Outcome, found: Sequence[Counterexample]) -> None:
        """Written at once: a run that is killed has the files as they were before, or after."""
        self.known[outcome.word] = outcome
        if found:
            self.counterexamples = self.counterexamples.with_those(found)
        if self.path is None:
            return
        if found:
            save_inputs([one.feeds for one in self.counterexamples.kept], self.beside)
        kept = self.counterexamples.kept
        numbers = [{"counterexample": one.number, "sample": one.sample, "noise": one.noise} for one in kept]
        lines = [self._head, *numbers, *(asdict(one) for one in self.known.values())]
        write_file(self.path, "".join(json.dumps(line) + "\n" for line in lines).encode())

    @property
    def _head(self) -> dict[str, str]:
        return {"format": FORMAT, "search": self.search}
