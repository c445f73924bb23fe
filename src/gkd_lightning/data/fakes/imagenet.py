"""An imitation of ImageNet-1k: an ImageFolder tree of JPEGs, some of them grey, CMYK or upright."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from gkd_lightning.data.minicity import MiniCityShapes

_CLASSES = ("n01440764", "n02123045", "n04285008", "n07747607")
_MODES = ("RGB", "RGB", "RGB", "L", "RGB", "CMYK")
"""Colour modes in turn; the real training set has both exceptions, if rarer."""


def imagenet(root: Path, images: int, size: tuple[int, int]) -> None:
    """Images of single objects in both orientations."""
    for split in ("train", "val"):
        objects = MiniCityShapes(images, seed=21 + (split == "val"), cache=False)
        for number in range(images):
            name = _CLASSES[number % len(_CLASSES)]
            stem = f"{name}_{number + 1}" if split == "train" else f"ILSVRC2012_val_{number + 1:08d}"
            path = root / split / name / f"{stem}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = Pillow.fromarray(np.asarray(objects.image(number)))
            picture = picture.resize(size[::-1] if number % 3 == 2 else size, Pillow.Resampling.BICUBIC)
            picture.convert(_MODES[number % len(_MODES)]).save(path, quality=90)
