"""Mapillary's validation images as the official repository prepares them: half size, JPEG, train ids."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PIL import Image as Pillow

from gkd_lightning.data.benchmarks.mapillary import Mapillary
from gkd_lightning.data.benchmarks.published import LaidOut
from gkd_lightning.data.prepare.parts import part_of
from gkd_lightning.data.prepare.work import Item
from gkd_lightning.errors import UserError


def half_items(name: str, source: str) -> list[Item]:
    """`half/val_img` and `half/val_label`, as tools/convert_datasets/mapillary_resize.py leaves them.

    Raises:
        UserError: another data set, or files that are prepared already.
    """
    if name != "mapillary":
        raise UserError(f"{name}: the official preparation by halving is Mapillary's; give mapillary")
    dataset = Mapillary(source, "val")
    files = dataset.files
    if isinstance(files, LaidOut) and files.layout.title == "prepared":
        raise UserError(f"{source}: holds prepared files already")
    items = []
    for index in range(len(dataset)):
        stem = dataset.name(index)
        image, label = dataset.image_path(index), dataset.label_path(index)
        items.append(Item(f"half/val_img/{stem}.jpg", image, partial(_write_image, image)))
        items.append(Item(f"half/val_label/{stem}.png", label, partial(_write_label, source, index)))
    return items


def _write_image(source: Path, path: Path) -> None:
    with Pillow.open(source) as image:
        halved = image.resize((image.size[0] // 2, image.size[1] // 2), resample=Pillow.Resampling.BICUBIC)
    halved.save(path, format="JPEG")  # in Pillow's own quality, as the official script: the same bytes are wanted


def _write_label(source: str, index: int, path: Path) -> None:
    Pillow.fromarray(part_of("mapillary", source, "val").label(index)).save(path, format="PNG")
