"""Small imitations of published data sets, in their layouts and encodings, for tests and first steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gkd_lightning.data.fakes import aerial, driving, panoptic, wild
from gkd_lightning.errors import UserError

FAKES: dict[str, Callable[[Path, int, tuple[int, int]], None]] = {
    "imagenet": driving.imagenet,
    "gtav": driving.gtav,
    "synthia": driving.synthia_rand,
    "urbansyn": driving.urbansyn,
    "cityscapes": driving.cityscapes,
    "bdd100k": driving.bdd100k,
    "mapillary": driving.vistas,
    "acdc": driving.acdc_conditions,
    "dark_zurich": driving.dark_zurich,
    "nighttime_driving": driving.nighttime_driving,
    "foggy_zurich": driving.foggy_zurich,
    "foggy_driving": driving.foggy_driving,
    "idd": wild.idd,
    "wilddash2": wild.wilddash2,
    "muad": wild.muad,
    "deliver": wild.deliver,
    "potsdam": aerial.potsdam,
    "vaihingen": aerial.vaihingen,
    "rescuenet": aerial.rescuenet,
    "loveda": aerial.loveda,
    "openearthmap": aerial.openearthmap,
    "coco_panoptic": panoptic.coco_panoptic,
    "folders": panoptic.folders,
}


def write_fake(name: str, root: Path, images: int = 4, size: tuple[int, int] = (256, 128)) -> None:
    """Write an imitation of the data set `name` into the empty or missing folder `root`.

    Args:
        name: one of `FAKES`.
        root: the data set's own folder, such as ``data/gtav``.
        images: of each split, and condition if there are several.
        size: (width, height) of the images.

    Raises:
        UserError: unknown name, a folder with something in it, or sizes below 32 pixels.
    """
    if name not in FAKES:
        raise UserError(f"{name}: no imitation of such a data set; there are {', '.join(FAKES)}")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f"{root}: is not empty; an imitation never mixes with other files, give a new folder")
    if images < 1 or min(size) < 32:
        raise UserError(f"{images} images of {size[0]}x{size[1]}: give at least one image of 32x32")
    FAKES[name](root, images, size)


def how_to_look(name: str, folder: str) -> str:
    """What shows an imitation: the command, or where the fragment stands that the command needs."""
    if name == "coco_panoptic":
        return "docs/panoptic.md has a fragment for gkd data check --config"
    if name == "folders":
        parts = " ".join(f"--{part} {folder}/{part}/train" for part in ("images", "labels", "instances"))
        return f"try gkd data check {parts} --classes cityscapes-19"
    return f"try gkd data check {name} {folder}"


__all__ = ["FAKES", "how_to_look", "write_fake"]
