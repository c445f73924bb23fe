"""JSON files of one image each: labelme, Supervisely, and polygons as Cityscapes and Mapillary Vistas publish them."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from gkd_lightning.data.annotations.reading import json_of, record_of, whole
from gkd_lightning.data.annotations.shapes import HOLE, Builder, Damaged, Part, box, disc, mask, polygon


def tool_of(plain: Any) -> str | None:
    """Which of these tools wrote a file, told by its keys."""
    if not isinstance(plain, dict):
        return None
    if isinstance(plain.get("shapes"), list):
        return "labelme"
    if isinstance(plain.get("objects"), list):
        if isinstance(plain.get("size"), dict):
            return "supervisely"
        if plain.keys() & {"imgHeight", "height"}:
            return "polygons"
    return None


def read_labelme(builder: Builder, path: str, record: str, _: Any = None) -> None:
    """One image.

    Raises:
        UserError: names the shape that is damaged, or of a kind without an area.
    """
    plain = json_of(path)
    with record_of(path, "the file"):
        size = [plain.get(key) or 0 for key in ("imageHeight", "imageWidth")]
        builder.image(record, *(whole(value, "size") for value in size))
        shapes = list(plain["shapes"])
    for place, each in enumerate(shapes):
        with record_of(path, f"shape {place} of the list"):
            kind = each.get("shape_type") or "polygon"
            builder.shape(str(each["label"]), [_labelme_part(kind, each)])


def _labelme_part(kind: str, each: dict[str, Any]) -> Part:
    points = each["points"]
    if kind == "polygon":
        return polygon(points)
    if kind in ("rectangle", "circle", "mask") and len(points) != 2:
        raise Damaged(f"a {kind} of {len(points)} points; two are needed")
    if kind == "rectangle":
        return box(*_two_corners(points))
    if kind == "circle":
        (x, y), (on_x, on_y) = points
        return disc(x, y, math.sqrt((on_x - x) ** 2 + (on_y - y) ** 2))
    if kind == "mask":
        left, top, right, bottom = (round(value) for value in _two_corners(points))
        inside = _picture(base64.b64decode(each["mask"]))
        if inside.shape != (bottom - top + 1, right - left + 1):
            raise Damaged(f"a mask of {inside.shape[1]}x{inside.shape[0]} pixels in a box of another size")
        return mask(inside, left, top)
    raise Damaged(f"a {kind}, which has no area; polygons, rectangles, circles and masks have")


def read_supervisely(builder: Builder, path: str, record: str, _: Any = None) -> None:
    """One image.

    Raises:
        UserError: names the object that is damaged, or of a kind without an area.
    """
    plain = json_of(path)
    with record_of(path, "the file"):
        builder.image(record, *(whole(plain["size"][key], "size") for key in ("height", "width")))
        objects = list(plain["objects"])
    for place, each in enumerate(objects):
        with record_of(path, f"object {each.get('id', place)}"):
            builder.shape(str(each["classTitle"]), _supervisely_parts(each))


def _supervisely_parts(each: dict[str, Any]) -> list[Part]:
    kind = each["geometryType"]
    if kind == "polygon":
        points = each["points"]
        return [polygon(points["exterior"]), *(polygon(ring, HOLE) for ring in points.get("interior", ()))]
    if kind == "rectangle":
        return [box(*_two_corners(each["points"]["exterior"]))]
    if kind == "bitmap":
        try:
            data = zlib.decompress(base64.b64decode(each["bitmap"]["data"]))
        except (zlib.error, binascii.Error) as error:
            raise Damaged(f"a bitmap that is no base64 of zlib ({error})") from error
        left, top = (whole(value, "origin") for value in each["bitmap"]["origin"])
        return [mask(_picture(data), left, top)]
    raise Damaged(f"a {kind}, which has no area; polygons, rectangles and bitmaps have")


def read_polygons(builder: Builder, path: str, record: str, _: Any = None) -> None:
    """One image.

    Raises:
        UserError: names the object that is damaged.
    """
    plain = json_of(path)
    with record_of(path, "the file"):
        size = [plain[f"img{key}"] if f"img{key}" in plain else plain[key.lower()] for key in ("Height", "Width")]
        builder.image(record, *(whole(value, "size") for value in size))
        objects = list(plain["objects"])
    for place, each in enumerate(objects):
        if each.get("deleted"):
            continue
        with record_of(path, f"object {place} of the list"):
            builder.shape(str(each["label"]), [polygon(each["polygon"])])


def _two_corners(points: Any) -> tuple[float, float, float, float]:
    (x, y), (other_x, other_y) = points
    return min(x, other_x), min(y, other_y), max(x, other_x), max(y, other_y)


def _picture(data: bytes) -> NDArray[np.bool_]:
    """What is inside by a PNG: what is not transparent, or else not black."""
    try:
        with Pillow.open(BytesIO(data), formats=("PNG",)) as picture:
            if picture.has_transparency_data:
                return np.asarray(picture.convert("RGBA").getchannel("A")) > 0
            if picture.mode in ("1", "L"):
                return np.asarray(picture.convert("L")) > 0
            mode = picture.mode
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise Damaged("a mask that is no PNG") from error
    raise Damaged(f"a mask whose PNG has the mode {mode}, which says not what is inside")
