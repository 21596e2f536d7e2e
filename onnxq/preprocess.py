"""From pixels to model input: ``(x * scale - mean) / std``; ``x`` is uint8 after colour, resize and crop."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from onnxq.data.images import Placement, coloured, placement, read_image, resized
from onnxq.errors import DataError, RecipeError, unknown
from onnxq.validation import load_yaml, parse_yaml, validated

Byte = Annotated[int, Field(ge=0, le=255)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Size = PositiveInt | tuple[PositiveInt, PositiveInt]


class Preprocessing(BaseModel):
    """How an image becomes a model input.

    ``resize`` and ``crop`` are a side or ``[height, width]`` in pixels. ``fit`` says how the image meets
    ``resize``: ``stretch`` to it, the ``shorter`` side becomes it, or ``letterbox``: keep the aspect and fill
    the right and the bottom with ``pad``. ``mean`` and ``std`` have one value, or one a channel in the order
    of ``color``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str | None = None
    resize: Size | None = None
    fit: Literal["stretch", "shorter", "letterbox"] = "stretch"
    crop: Size | None = None
    interpolation: Literal["bilinear", "nearest", "bicubic"] = "bilinear"
    pad: Byte = 114
    color: Literal["RGB", "BGR", "GREY"] = "RGB"
    scale: Number = 1.0
    mean: tuple[Number, ...] = (0.0,)
    std: tuple[Number, ...] = (1.0,)
    layout: Literal["NCHW", "NHWC"] = "NCHW"

    @model_validator(mode="after")
    def _agree(self) -> "Preprocessing":
        channels = 1 if self.color == "GREY" else 3
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise ValueError(f"'{name}' has {len(values)} values; {self.color} wants 1 or {channels}")
        if 0 in self.std:
            raise ValueError("'std' holds 0, and the pixels are divided by it")
        if self.fit == "letterbox" and self.resize is None:
            raise ValueError("'fit: letterbox' wants 'resize', the size to fit into")
        if self.fit == "shorter" and not isinstance(self.resize, int):
            raise ValueError("'fit: shorter' wants 'resize' as one number, the length of the shorter side")
        return self

    def apply(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Images uint8 ``[n, h, w, c]``, grey or RGB, as float32 in the order of ``layout``.

        Raises DataError when there are 2 or more than 3 channels, or the crop is larger than the image.
        """
        if images.ndim != 4 or images.shape[3] not in (1, 3):
            raise DataError(f"images are uint8{list(images.shape)}; [n, height, width, 1 or 3] is wanted.")
        pixels = np.stack([self._framed(coloured(image, self.color)) for image in images])
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        normal = (pixels.astype(np.float32) * np.float32(self.scale) - mean) / std
        return np.ascontiguousarray(normal.transpose(0, 3, 1, 2) if self.layout == "NCHW" else normal)

    def load(self, path: Path) -> NDArray[np.float32]:
        """An image file as float32 ``[c, h, w]`` or, with NHWC, ``[h, w, c]``. Raises DataError."""
        image: NDArray[np.float32] = self.apply(read_image(path)[None])[0]
        return image

    def placement(self, height: int, width: int) -> Placement:
        """Where an image of ``height`` by ``width`` pixels comes to lie in the model input."""
        return placement(height, width, pair(self.resize), self.fit, pair(self.crop))

    def _framed(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize, pad and crop one image uint8 ``[h, w, c]``."""
        place = self.placement(*image.shape[:2])
        image = resized(image, place.size, self.interpolation)
        if self.fit == "letterbox":
            height, width = pair(self.resize) or place.size
            margins = ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0))
            image = np.pad(image, margins, constant_values=self.pad)
        height, width = pair(self.crop) or image.shape[:2]
        if height > image.shape[0] or width > image.shape[1]:
            raise DataError(
                f"crop {height}x{width} is larger than the image, {image.shape[0]}x{image.shape[1]} "
                "when cropped. Add or enlarge 'resize'."
            )
        return image[place.top : place.top + height, place.left : place.left + width]


def pair(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """A size as ``(height, width)``."""
    return (size, size) if isinstance(size, int) else size


PRESETS = {
    "imagenet": Preprocessing(
        resize=256,
        fit="shorter",
        crop=224,
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
}


def parse_preprocessing(text_or_path: str | Path) -> Preprocessing:
    """A preprocessing from the name of a preset, a YAML file, or YAML such as ``{resize: 256, crop: 224}``.

    Raises RecipeError that names the wrong field and the nearest valid one.
    """
    text = str(text_or_path).strip()
    if text in PRESETS:
        return PRESETS[text]
    if text.startswith("{"):
        return validated(Preprocessing, parse_yaml(text, "preprocessing"), "preprocessing")
    if Path(text).suffix in (".yaml", ".yml"):
        return validated(Preprocessing, load_yaml(Path(text)), text)
    raise RecipeError(
        unknown("preprocessing", text, PRESETS) + " Or give a YAML file, or YAML such as '{resize: 256, crop: 224}'."
    )
