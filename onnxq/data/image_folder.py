"""A folder of image files as a source of data, one image a sample, in the order of their names."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from onnxq.data.chunks import Chunk
from onnxq.data.images import read_image


@dataclass(frozen=True)
class ImageFolder:
    """Image files whose pixels go to one input; each is read when its turn comes."""

    folder: Path
    files: tuple[Path, ...]
    input: str
    labelled: bool = False

    @property
    def description(self) -> str:
        return self.folder.resolve().name

    @property
    def count(self) -> int:
        return len(self.files)

    def chunks(self) -> Iterator[Chunk]:
        for file in self.files:
            yield Chunk(str(file), {self.input: read_image(file)[None]})

    def part(self, start: int, stop: int) -> "ImageFolder":
        return replace(self, files=self.files[start:stop])
