"""What a model answers, iteration by iteration: run here, or read from what ``polygraphy run --save-outputs`` wrote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxq.errors import DataError
from onnxq.files import write_file
from onnxq.inputs import Array

Feeds = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Side:
    """``iterations``: the outputs by name of one run after another."""

    name: str
    iterations: tuple[Mapping[str, Array], ...]


def saved_side(path: Path) -> Side:
    """One runner's outputs from a Polygraphy JSON file. Raises DataError when it is not one."""
    from polygraphy.comparator import RunResults
    from polygraphy.exception import PolygraphyException
    from polygraphy.logger import G_LOGGER

    try:
        with G_LOGGER.verbosity(G_LOGGER.CRITICAL + 1):
            results = RunResults.load(str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    except (PolygraphyException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is not what `polygraphy run ... --save-outputs {path.name}` writes.") from error
    if len(results) != 1:
        names = ", ".join(repr(name) for name, _ in results)
        raise DataError(
            f"{path}: holds the outputs of {len(results)} runners ({names}); one is wanted. Save each alone."
        )
    ((name, iterations),) = results
    if not iterations:
        raise DataError(f"{path}: holds no outputs.")
    return Side(f"{path.name} ({name})", tuple(dict(iteration.items()) for iteration in iterations))


def run_results(sides: Sequence[Side]) -> Any:
    """Polygraphy's own form of the sides, in their order."""
    from polygraphy.comparator import RunResults

    results = RunResults()
    for number, side in enumerate(sides):
        results.add([dict(outputs) for outputs in side.iterations], runner_name=f"{'AB'[number]}: {side.name}")
    return results


def save_outputs(side: Side, path: Path) -> None:
    """As ``polygraphy run --load-outputs`` reads them."""
    from polygraphy.json import to_json

    write_file(path, to_json(run_results([side])).encode())


def save_inputs(feeds: Sequence[Feeds], path: Path) -> None:
    """As ``polygraphy run --load-inputs`` reads them."""
    from polygraphy.json import to_json

    write_file(path, to_json([dict(feed) for feed in feeds]).encode())
