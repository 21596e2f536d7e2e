"""The best graph so far on disk, its recipe beside it, and where the journal of the search lies."""

from pathlib import Path

from onnxq.diagnosing.advice import recipe_text
from onnxq.files import check_writable, write_file
from onnxq.provenance.told import stamped
from onnxq.tuning.candidate import Candidate, Outcome
from onnxq.tuning.trials import Task, Trials


class Keeper:
    """``graph`` is where the graph goes, None where nothing is written."""

    def __init__(self, graph: Path | None, backend: str) -> None:
        self.graph, self._backend = graph, backend
        for path in self.files:
            check_writable(path)

    @property
    def files(self) -> tuple[Path, ...]:
        """The graph, the recipe and the journal."""
        if self.graph is None:
            return ()
        return self.graph, self.graph.with_suffix(".yaml"), self.graph.with_suffix(".tune.jsonl")

    def journal(self, fresh: bool) -> Path | None:
        """The journal's path; a ``fresh`` one is begun with nothing."""
        if self.graph is None:
            return None
        if fresh:
            self.files[2].unlink(missing_ok=True)
        return self.files[2]

    def keep(self, trials: Trials, candidate: Candidate, outcome: Outcome) -> None:
        """Write the graph and the recipe, unless they are there already."""
        if self.graph is None:
            return
        graph, recipe, _ = self.files
        wanted = text(trials.task, candidate, outcome)
        if graph.exists() and recipe.exists() and recipe.read_text(encoding="utf-8", errors="replace") == wanted:
            return
        recipe.unlink(missing_ok=True)  # so that no recipe stands beside the graph of another
        stamped(trials.result(candidate), trials.told(candidate)).save(graph)
        write_file(recipe, wanted.encode())


def text(task: Task, candidate: Candidate, outcome: Outcome) -> str:
    """The recipe as YAML, with what came of it above."""
    measure = task.measure
    fp32 = f"{measure.name} {measure.fp32:.2f} {measure.unit}"
    lost = "" if outcome.lost is None else f"{outcome.lost:.2f} lost of FP32's {fp32}"
    where = f"as the graph is computed: {measure.not_deployed}" if measure.not_deployed else f"on {measure.engine}"
    share = "" if outcome.int8 is None else f"; {100 * outcome.int8:.1f} % of multiply-accumulates in INT8"
    lines = (f"{candidate.said}: {lost} {where}{share}", f"measured on {measure.tests.description}")
    return recipe_text(candidate.recipe, task.backend.name, lines)
