"""Large aerial images cut into tiles, laid out and encoded as by mmsegmentation's converters."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from gkd_lightning.data.benchmarks.tiles import Tiles
from gkd_lightning.data.prepare.parts import part_of, parts_of
from gkd_lightning.data.prepare.work import Item
from gkd_lightning.errors import UserError


def tile_items(name: str, source: str) -> list[Item]:
    """`img_dir` and `ann_dir` of every split; labels hold class + 1, and 0 where there is no truth.

    Raises:
        UserError: no large images in `source`.
    """
    items = []
    for part, dataset in parts_of(name, source).items():
        if not isinstance(dataset.files, Tiles):
            raise UserError(f"{source}: holds no large images of {name} to cut into tiles")
        bands, _, _ = part.rpartition("-")
        for index in range(len(dataset)):
            image, label = dataset.image_path(index), dataset.label_path(index)
            for folder, made_of, write in (("img_dir", image, _write_image), ("ann_dir", label, _write_label)):
                target = Path(bands, folder, dataset.split, f"{dataset.name(index)}.png")
                items.append(Item(target.as_posix(), made_of, partial(write, name, source, part, index)))
    return items


def _write_image(name: str, source: str, part: str, index: int, path: Path) -> None:
    Pillow.fromarray(part_of(name, source, part).image(index)).save(path, format="PNG")


def _write_label(name: str, source: str, part: str, index: int, path: Path) -> None:
    label = part_of(name, source, part).label(index)
    Pillow.fromarray(np.where(label == 255, 0, label + 1).astype(np.uint8)).save(path, format="PNG")
