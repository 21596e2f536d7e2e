"""``extends``: the passes of one recipe, with what another one says of them.

A pass that the recipe extended has keeps its place, and the fields that are given replace its own, each as a whole. A
pass that it has not goes behind the one listed before it, or in front of the one listed behind it. ``drop`` takes
passes away.
"""

from collections.abc import Sequence

from onnxq.errors import RecipeError, unknown
from onnxq.recipes.document import Document
from onnxq.recipes.entry import Entry, entries, kind_of, written_name
from onnxq.workspace import Pass


def extended(base: Sequence[Pass], document: Document) -> tuple[Pass, ...]:
    """``base`` with what the document says. Raises RecipeError."""
    passes = _remaining(base, document)
    last: Entry | None = None
    at = -1  # of the last one listed
    waiting: list[Entry] = []  # new ones, with none listed before them yet
    for entry in entries(document):
        place = next((i for i in range(at + 1, len(passes)) if type(passes[i]) is entry.kind), None)
        if place is not None:
            passes[place] = entry.made(passes[place])
            passes[place:place] = [one.made() for one in waiting]
            at, waiting = place + len(waiting), []
        elif any(type(step) is entry.kind for step in passes[: at + 1]):
            before = last.name if last is not None else entry.name
            raise entry.error(
                f"it is listed behind {before!r}, and comes no later than that in the recipe extended, where it keeps "
                "its place. List the passes in their order; to move one, drop it too."
            )
        elif last is None or waiting:
            waiting.append(entry)
        else:
            at += 1
            passes.insert(at, entry.made())
        last = entry
    if waiting:
        raise waiting[0].error(
            "the recipe extended does not have it, so its place is not known. List the pass before it, or the one "
            f"behind it, too, without options: {', '.join(map(written_name, passes))}."
        )
    return tuple(passes)


def _remaining(base: Sequence[Pass], document: Document) -> list[Pass]:
    """Without those that are dropped."""
    drop = document.value.get("drop")
    names = [] if drop is None else drop
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise RecipeError(f"{document.at('drop')}: field 'drop' is {drop!r}, not a list of names of passes.")
    passes = list(base)
    for index, name in enumerate(names):
        where = document.at("drop", index)
        kind = kind_of(name, where)
        if not any(type(step) is kind for step in passes):
            known = sorted({written_name(step) for step in base})
            raise RecipeError(f"{where}: drop: {unknown('pass of the recipe extended', name, known)}")
        passes = [step for step in passes if type(step) is not kind]
    return passes
