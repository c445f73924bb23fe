"""What cameras and files do to an image: less contrast, coarse pixels, JPEG; and an elastic sheet."""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
from PIL import Image as Pillow

from gkd_lightning.data.common_corruptions.blurs import soft
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
    """Seen in a sheet that is pulled at three points and in waves."""
    moved: Floats = cv2.remap(image, *elastic_places(image.shape[:2], level, rng), cv2.INTER_LINEAR, **_MIRRORED)
    return moved


def elastic_places(shape: tuple[int, int], level: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """For every pixel of the result the place that it is taken from, x and y float32 (H, W).

    The published code resamples twice, first after the pull and then after the waves; here it is once. Its first two
    severities pull far and wave little, the others the other way round: it does not grow from one to the next.
    """
    strength, sigma, pull = (
        (488.0, 170.8, 24.4), (488.0, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88),
    )[level - 1]  # fmt: skip
    height, width = shape
    third = min(height, width) // 3
    middle = np.array([width // 2, height // 2])
    corners = (middle + third * np.array([(1, 1), (1, -1), (-1, -1)])).astype(np.float32)
    pulled = (corners + rng.uniform(-pull, pull, corners.shape)).astype(np.float32)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x + strength * _waves(shape, sigma, rng), y + strength * _waves(shape, sigma, rng)
    back = cv2.getAffineTransform(pulled, corners) if third else np.eye(2, 3)
    places = [(row[0] * x + row[1] * y + row[2]).astype(np.float32) for row in back]
    return places[0], places[1]


def moved_along(numbers: Floats, level: int, rng: np.random.Generator) -> Floats:
    """A map of ids (H, W) in the same sheet as the image that was drawn with an equal generator."""
    found: Floats = cv2.remap(numbers, *elastic_places(numbers.shape[:2], level, rng), cv2.INTER_NEAREST, **_MIRRORED)
    return found


_MIRRORED = {"borderMode": cv2.BORDER_REFLECT_101}


def _waves(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> Floats:
    """Noise from -1 to 1, smoothed by a Gaussian. Long waves are drawn on a coarser grid, of the same variance."""
    coarse = max(1, int(sigma / 4))
    rows, columns = (-(-side // coarse) + 1 for side in shape)
    drawn = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(3**-0.5 / coarse)
    smooth = soft(drawn, sigma / coarse)
    waves: Floats = cv2.resize(smooth, shape[::-1], interpolation=cv2.INTER_CUBIC) if coarse > 1 else smooth
    return waves[: shape[0], : shape[1]]


def _picture(image: Floats) -> Pillow.Image:
    return Pillow.fromarray(np.clip(np.rint(image * 255), 0, 255).astype(np.uint8))


def _floats(picture: Pillow.Image) -> Floats:
    return np.asarray(picture, dtype=np.float32) / np.float32(255)
