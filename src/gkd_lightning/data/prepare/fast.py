"""PNG images in formats that are decoded several times faster; labels bit for bit.

Measured on one core for 1914 x 1052 pixels: PNG 48 ms and 3.0 MB, BMP 4 ms and 5.9 MB, JPEG (quality 95) 15 ms and
0.4 MB.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from gkd_lightning.data.benchmarks.published import FAST_SUFFIXES, LaidOut
from gkd_lightning.data.images import read_image
from gkd_lightning.data.prepare.parts import parts_of
from gkd_lightning.data.prepare.work import Item
from gkd_lightning.errors import UserError

_OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {".bmp": ("BMP", {}), ".jpg": ("JPEG", {"quality": 95})}


def fast_items(name: str, source: str, suffix: str) -> list[Item]:
    """Every image with another suffix, every label as it is, in the folders of the source.

    Args:
        suffix: `.bmp` (the same pixels) or `.jpg` (smaller, not the same pixels).

    Raises:
        UserError: another suffix, or images that are no PNG files.
    """
    if suffix not in FAST_SUFFIXES:
        raise UserError(f"format {suffix.lstrip('.')}: give bmp (the same pixels) or jpg (smaller, quality 95)")
    items: dict[str, Item] = {}
    for dataset in parts_of(name, source).values():
        files = dataset.files
        if not isinstance(files, LaidOut) or not files.layout.image_suffix.endswith(".png"):
            raise UserError(f"{source}: the images of {name} are no PNG files; nothing to re-encode")
        for index in range(len(dataset)):
            image, label = dataset.image_path(index), dataset.label_path(index)
            target = image.relative_to(dataset.root).with_suffix(suffix).as_posix()
            items[target] = Item(target, image, partial(_re_encode, image, suffix))
            copy = label.relative_to(dataset.root).as_posix()
            items[copy] = Item(copy, label, partial(shutil.copyfile, label))
    return list(items.values())


def _re_encode(source: Path, suffix: str, path: Path) -> None:
    kind, options = _OPTIONS[suffix]
    Pillow.fromarray(read_image(source)).save(path, format=kind, **options)
