"""What the kinds of prepared copies consist of: one `Item` per file."""

from __future__ import annotations

import shutil
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from gkd_lightning.data.benchmarks.catalogue import published_parts
from gkd_lightning.data.benchmarks.mapillary import Mapillary
from gkd_lightning.data.benchmarks.published import FAST_SUFFIXES, LaidOut, PublishedSegmentation
from gkd_lightning.data.benchmarks.tiles import Tiles
from gkd_lightning.data.images import opened, read_image
from gkd_lightning.data.prepare.work import Item
from gkd_lightning.errors import UserError

_OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {".bmp": ("BMP", {}), ".jpg": ("JPEG", {"quality": 95})}


def tile_items(name: str, source: str) -> list[Item]:
    """`img_dir` and `ann_dir` of every split; labels hold class + 1, and 0 where there is no truth.

    Raises:
        UserError: no large images in `source`.
    """
    items = []
    for part, dataset in _parts_of(name, source).items():
        if not isinstance(dataset.files, Tiles):
            raise UserError(f"{source}: holds no large images of {name} to cut into tiles")
        bands, _, _ = part.rpartition("-")
        for index in range(len(dataset)):
            image, label = dataset.image_path(index), dataset.label_path(index)
            for folder, made_of, write in (("img_dir", image, _write_tile), ("ann_dir", label, _write_tile_label)):
                target = Path(bands, folder, dataset.split, f"{dataset.name(index)}.png")
                items.append(Item(target.as_posix(), made_of, partial(write, name, source, part, index)))
    return items


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
    for dataset in _parts_of(name, source).values():
        files = dataset.files
        if not isinstance(files, LaidOut) or not files.layout.image_suffix.endswith(".png"):
            raise UserError(f"{source}: the images of {name} are no PNG files; nothing to re-encode")
        for index in range(len(dataset)):
            image, label = dataset.image_path(index), dataset.label_path(index)
            target = image.relative_to(dataset.root).with_suffix(suffix).as_posix()
            items[target] = Item(target, image, partial(_re_encode, image, suffix))
            copy = label.relative_to(dataset.root).as_posix()
            items[copy] = Item(copy, label, partial(shutil.copyfile, label))
        if files.list_file is not None:
            listed = Path(files.list_file)
            copy = listed.relative_to(dataset.root).as_posix()
            items[copy] = Item(copy, listed, partial(shutil.copyfile, listed))
    return list(items.values())


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
        items.append(Item(f"half/val_img/{stem}.jpg", image, partial(_write_half, image)))
        items.append(Item(f"half/val_label/{stem}.png", label, partial(_write_half_label, source, index)))
    return items


def _parts_of(name: str, source: str) -> dict[str, PublishedSegmentation]:
    """Splits and conditions that are there, by name; at least one. What is not there is named on the terminal."""
    found: dict[str, PublishedSegmentation] = {}
    missing: dict[str, UserError] = {}
    for part, dataset in published_parts(name, source).items():
        if not isinstance(dataset, PublishedSegmentation):
            raise UserError(f"{name}: has no labels and is read as it is; nothing to prepare")
        try:
            _ = dataset.files
        except UserError as error:
            missing[part] = error
        else:
            len(dataset)  # an image without a label is a mistake, not a part that is not there
            found[part] = dataset
    if not found:
        raise next(iter(missing.values()))
    for part in missing:
        print(f"{name}-{part}: not in {source}, left out", flush=True)
    return found


@lru_cache(maxsize=2)
def _part_of(name: str, source: str, part: str) -> PublishedSegmentation:
    """One of them, kept by every worker together with the large image that it read last."""
    dataset = published_parts(name, source)[part]
    assert isinstance(dataset, PublishedSegmentation)
    return dataset


def _write_tile(name: str, source: str, part: str, index: int, path: Path) -> None:
    Pillow.fromarray(_part_of(name, source, part).image(index)).save(path, format="PNG")


def _write_tile_label(name: str, source: str, part: str, index: int, path: Path) -> None:
    label = _part_of(name, source, part).label(index)
    Pillow.fromarray(np.where(label == 255, 0, label + 1).astype(np.uint8)).save(path, format="PNG")


def _re_encode(source: Path, suffix: str, path: Path) -> None:
    kind, options = _OPTIONS[suffix]
    Pillow.fromarray(read_image(source)).save(path, format=kind, **options)


def _write_half(source: Path, path: Path) -> None:
    read_image(source)  # refuses damaged files
    with opened(source) as image:
        halved = image.resize((image.size[0] // 2, image.size[1] // 2), resample=Pillow.Resampling.BICUBIC)
    halved.save(path, format="JPEG")  # in Pillow's own quality, as the official script: the same bytes are wanted


def _write_half_label(source: str, index: int, path: Path) -> None:
    Pillow.fromarray(_part_of("mapillary", source, "val").label(index)).save(path, format="PNG")
