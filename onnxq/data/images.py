"""Read, colour and resize uint8 images ``[height, width, channel]``, and know where their pixels went."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
LUMA = np.array([19595, 38470, 7471])  # ITU-R BT.601 in 1/65536, as Pillow's and libjpeg's grey


@dataclass(frozen=True)
class Placement:
    """An image resized to ``size`` (height, width), then cut from ``top``, ``left``.

    A point ``x`` of the image lies at ``x * scale_x - left`` of the model input, and ``y`` likewise.
    """

    size: tuple[int, int]
    scale_y: float
    scale_x: float
    top: int = 0
    left: int = 0


def placement(
    height: int, width: int, resize: tuple[int, int] | None, fit: str, crop: tuple[int, int] | None
) -> Placement:
    """Where an image of ``height`` by ``width`` pixels comes to lie, fitted to ``resize`` and centre-cropped.

    ``shorter`` and ``letterbox`` round the longer side down, as torchvision and YOLOX do.
    """
    scale_y = scale_x = 1.0
    if resize is not None:
        scale_y, scale_x = resize[0] / height, resize[1] / width
        if fit == "shorter":
            scale_y = scale_x = max(scale_y, scale_x)
        elif fit == "letterbox":
            scale_y = scale_x = min(scale_y, scale_x)
    # The small number mends a scale such as 256 / 333, where 333 * scale falls just short of 256.
    size = (max(1, int(height * scale_y + 1e-6)), max(1, int(width * scale_x + 1e-6)))
    if crop is None:
        return Placement(size, scale_y, scale_x)
    framed = resize if resize is not None and fit == "letterbox" else size
    return Placement(size, scale_y, scale_x, (framed[0] - crop[0]) // 2, (framed[1] - crop[1]) // 2)


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file as RGB uint8 ``[h, w, 3]``. Raises DataError when it is damaged, huge or deeper."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise DataError(f"{path}: has pixels of more than 8 bits; convert it to an 8-bit image.")
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image: {error}. Remove or replace it.") from error


def coloured(image: NDArray[np.uint8], color: str) -> NDArray[np.uint8]:
    """An image with 1 or 3 (RGB) channels with the channels of ``color``: RGB, BGR or GREY."""
    channels = image.shape[2]
    if color == "GREY":
        return image if channels == 1 else ((image @ LUMA + 32768) >> 16).astype(np.uint8)[..., None]
    return np.repeat(image, 3, 2) if channels == 1 else image[..., :: -1 if color == "BGR" else 1]


def resized(image: NDArray[np.uint8], size: tuple[int, int], interpolation: str) -> NDArray[np.uint8]:
    """An image resized to ``size`` (height, width), channel by channel; scaling down averages."""
    from PIL import Image

    if image.shape[:2] == size:
        return image
    method = Image.Resampling[interpolation.upper()]
    channels = [Image.fromarray(np.ascontiguousarray(channel)) for channel in image.transpose(2, 0, 1)]
    return np.stack([np.asarray(channel.resize(size[::-1], method)) for channel in channels], 2)
