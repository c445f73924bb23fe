"""Frost: a picture seen through photographs of frosted panes, which a user brings along."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from gkd_lightning.data.corruptions import Floats
from gkd_lightning.data.images import list_images, read_image
from gkd_lightning.data.types import Image
from gkd_lightning.errors import UserError

FROST = "frost"
PHOTOGRAPHS = 5
"""Of the six that were published, the first five are drawn from."""


def frost_photographs(folder: str) -> list[Path]:
    """The first five images of a folder, by name.

    Raises:
        UserError: there is no such folder, or no image in it.
    """
    found = list_images(folder)
    if not found:
        raise UserError(f"frost_images: {folder}: no images in it")
    return [Path(folder) / name for name in found[:PHOTOGRAPHS]]


def frost(image: Floats, level: int, rng: np.random.Generator, photographs: Sequence[Path]) -> Floats:
    """A piece of one photograph laid over the image, brighter than either.

    Args:
        image: (H, W, 3) in [0, 1].
        level: 1 to 5.
        rng: chooses the photograph and the piece.
        photographs: of any size; enlarged until they cover the image with a tenth to spare, as in Cityscapes-C.
    """
    kept, laid = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[level - 1]
    chosen = _photograph(photographs[int(rng.integers(len(photographs)))])
    height, width = image.shape[:2]
    scale = 1.1 * max(1.0, height / chosen.shape[0], width / chosen.shape[1])
    size = int(np.ceil(chosen.shape[1] * scale)), int(np.ceil(chosen.shape[0] * scale))
    pane = cv2.resize(chosen, size, interpolation=cv2.INTER_CUBIC)
    top, left = (int(rng.integers(big - small)) for big, small in zip(pane.shape[:2], (height, width), strict=True))
    piece = pane[top : top + height, left : left + width].astype(np.float32) / np.float32(255)
    both: Floats = np.float32(kept) * image + np.float32(laid) * piece
    return both


@lru_cache(PHOTOGRAPHS)
def _photograph(path: Path) -> Image:
    return read_image(path)
