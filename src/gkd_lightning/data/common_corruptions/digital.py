"""What cameras and files do to an image: less contrast, coarse pixels, JPEG; and an elastic sheet."""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
from PIL import Image as Pillow

from gkd_lightning.data.corruptions import Floats


def contrast(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """Every channel drawn towards its mean."""
    kept = np.float32((0.4, 0.3, 0.2, 0.1, 0.05)[level - 1])
    means = image.mean(axis=(0, 1), keepdims=True)
    flat: Floats = (image - means) * kept + means
    return flat


def pixelate(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """Reduced to a share of its size and enlarged again, each pixel by the mean of those it covers."""
    share = (0.6, 0.5, 0.4, 0.3, 0.25)[level - 1]
    height, width = image.shape[:2]
    small = max(int(width * share), 1), max(int(height * share), 1)
    picture = _picture(image).resize(small, Pillow.Resampling.BOX).resize((width, height), Pillow.Resampling.BOX)
    return _floats(picture)


def jpeg_compression(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """Written as a JPEG of low quality and read again."""
    file = BytesIO()
    _picture(image).save(file, "JPEG", quality=(25, 18, 15, 10, 7)[level - 1])
    with Pillow.open(file) as picture:
        return _floats(picture)


def elastic(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """Seen in a sheet that waves."""
    moved: Floats = cv2.remap(image, *elastic_places(image.shape[:2], level, rng), cv2.INTER_LINEAR, **_MIRRORED)
    return moved


def elastic_places(shape: tuple[int, int], level: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """For every pixel of the result the place that it is taken from, x and y float32 (H, W).

    As in Cityscapes-C, whose waves grow with the image, and not as in ImageNet-C, which also pulls at three points by
    constants for 224 pixels: noise of half a percent of the height, smoothed over a percent of either side.
    """
    strength = (12.5, 16.25, 21.25, 25.0, 30.0)[level - 1]
    height, width = shape
    sigmas = 0.01 * width, 0.01 * height
    size = [2 * int(3 * sigma + 0.5) + 1 for sigma in sigmas]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    for places in (x, y):
        drawn = (2 * rng.random(shape, dtype=np.float32) - 1) * np.float32(0.005 * height * strength)
        places += cv2.GaussianBlur(drawn, size, sigmaX=sigmas[0], sigmaY=sigmas[1], borderType=cv2.BORDER_REFLECT)
    return x, y


def moved_along(numbers: Floats, level: int, rng: np.random.Generator) -> Floats:
    """A map of ids (H, W) in the same sheet as the image that was drawn with an equal generator."""
    found: Floats = cv2.remap(numbers, *elastic_places(numbers.shape[:2], level, rng), cv2.INTER_NEAREST, **_MIRRORED)
    return found


_MIRRORED = {"borderMode": cv2.BORDER_REFLECT}


def _picture(image: Floats) -> Pillow.Image:
    return Pillow.fromarray(np.clip(np.rint(image * 255), 0, 255).astype(np.uint8))


def _floats(picture: Pillow.Image) -> Floats:
    return np.asarray(picture, dtype=np.float32) / np.float32(255)
