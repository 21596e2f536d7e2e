"""What ``polygraphy run --save-inputs`` writes, as a source of data. The JSON holds arrays, never pickles."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxq.data.chunks import Chunk
from onnxq.data.sources import Feed
from onnxq.errors import DataError
from onnxq.inputs import Array, InputSpec, batch_axis


@dataclass(frozen=True)
class SavedInputs:
    """A JSON file of one feed or a list of them; each is fed as it is."""

    path: Path
    inputs: tuple[InputSpec, ...]
    count: int
    labelled: bool = False

    @property
    def description(self) -> str:
        return self.path.name

    def chunks(self) -> Iterator[Chunk]:
        for feed in read_feeds(self.path):
            yield Chunk(str(self.path), feed, worth=_worth(feed, self.inputs))

    def part(self, start: int, stop: int) -> None:
        """The file is read as a whole, whatever of it is wanted."""


def saved_inputs(path: Path, inputs: tuple[InputSpec, ...]) -> SavedInputs:
    """The feeds of a JSON file, read once to count them. Raises DataError when there are none."""
    count = sum(_worth(feed, inputs) for feed in read_feeds(path))
    if not count:
        raise DataError(f"{path}: holds no feeds. Write it with: polygraphy run ... --save-inputs inputs.json")
    return SavedInputs(path, inputs, count)


def read_feeds(path: Path) -> list[dict[str, Array]]:
    """The feeds of a Polygraphy JSON file, arrays by input name. Raises DataError when it is not one."""
    from polygraphy.exception import PolygraphyException
    from polygraphy.json import from_json
    from polygraphy.logger import G_LOGGER

    try:
        with G_LOGGER.verbosity(G_LOGGER.CRITICAL + 1):  # it logs what it raises
            value = from_json(path.read_text(encoding="utf-8"))
    except (
        OSError,
        ValueError,
        KeyError,
        AttributeError,
        EOFError,
        RecursionError,
        PolygraphyException,
    ) as error:
        raise DataError(
            f"{path}: cannot be read as Polygraphy inputs: {error or type(error).__name__}. "
            "Write it with: polygraphy run ... --save-inputs inputs.json"
        ) from error
    feeds: list[dict[str, Array]] = value if isinstance(value, list) else [value]
    for feed in feeds:
        if not isinstance(feed, dict) or not all(isinstance(array, np.ndarray) for array in feed.values()):
            raise DataError(
                f"{path}: is not a list of feeds (input name: array) as Polygraphy saves them. "
                "Write it with: polygraphy run ... --save-inputs inputs.json"
            )
    return [feed for feed in feeds if feed]


def _worth(feed: Feed, inputs: Sequence[InputSpec]) -> int:
    """The samples in a feed: the length of its batch axis, or 1 where it has no common one."""
    lengths = {len(array) if array.ndim else 1 for array in feed.values()}
    return lengths.pop() if len(lengths) == 1 and batch_axis(inputs).common else 1
