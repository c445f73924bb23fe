"""Copies of published data sets that are read faster, or as the official repository prepared them."""

from __future__ import annotations

from pathlib import Path

from gkd_lightning.data.prepare.items import fast_items, half_items, tile_items
from gkd_lightning.data.prepare.work import MANIFEST, carry_out
from gkd_lightning.errors import UserError

KINDS = {
    "tiles": "Potsdam and Vaihingen: 512-pixel tiles as mmsegmentation's converters make them",
    "fast": "GTAV, SYNTHIA, UrbanSyn, Cityscapes, ACDC: PNG images re-encoded for fast reading",
    "official": "Mapillary: validation images at half size, as the official repository prepares them",
}


def prepare(kind: str, name: str, source: str, destination: Path, workers: int = 0, image_format: str = "bmp") -> int:
    """Write a prepared copy of a published data set.

    Args:
        kind: one of `KINDS`.
        name: of the data set.
        source: its folder.
        destination: the copy's folder: a new one, or one prepared so before, where finished files are kept.
        workers: processes; 0 for none besides this one.
        image_format: `bmp` or `jpg`, for the kind `fast`.

    Returns:
        How many files were made now.

    Raises:
        UserError: a data set that cannot be prepared in this way, nothing found in `source`, an image without a label
            there or anything else that reading it raises, or a destination that holds something else.
    """
    if kind not in KINDS:
        raise UserError(f"{kind}: no such kind of copy; there are {', '.join(KINDS)}")
    if workers < 0:
        raise UserError(f"workers: {workers}; give 0 or more")
    one, other = Path(source).resolve(), destination.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise UserError(f"{destination}: is the source ({source}), lies in it or around it; give a folder elsewhere")
    if kind == "tiles":
        items = tile_items(name, source)
    elif kind == "fast":
        items = fast_items(name, source, f".{image_format}")
    else:
        items = half_items(name, source)
    about = {"data_set": name, "kind": kind, "source": str(one)}
    if kind == "fast":
        about["image_format"] = image_format
    return carry_out(items, Path(source), destination, workers, about)


__all__ = ["KINDS", "MANIFEST", "prepare"]
