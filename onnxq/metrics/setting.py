"""What a metric is told of the model and its data, whether a card says it or the command line."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onnxq.errors import RecipeError
from onnxq.inputs import Dim
from onnxq.preprocess import Preprocessing, pair

AS_IT_IS = Preprocessing()


@dataclass(frozen=True)
class Setting:
    """``where`` begins what is said of errors; paths in options start at ``folder``; ``shapes`` are of the inputs."""

    where: str
    folder: Path
    shapes: Mapping[str, tuple[Dim, ...]]
    preprocessing: Preprocessing = AS_IT_IS

    def input_size(self) -> tuple[int, int]:
        """Height and width of the model input: what preprocessing makes, or what the shape says.

        Raises RecipeError where neither tells.
        """
        steps = self.preprocessing
        made = pair(steps.crop) or (None if steps.fit == "shorter" else pair(steps.resize))
        name = steps.input or next(iter(self.shapes), "")
        shape = self.shapes.get(name, ())
        sides = shape[2:4] if steps.layout == "NCHW" else shape[1:3]
        if made is None and len(sides) == 2 and isinstance(sides[0], int) and isinstance(sides[1], int):
            made = (sides[0], sides[1])
        if made is None:
            raise RecipeError(
                f"{self.where} wants the height and width of input {name!r} as numbers. "
                "Say them in the preprocessing, as 'resize'."
            )
        return made
