"""Label Studio's JSON export: polygons and boxes in per cent of the image, brushes as packed runs."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data.annotations.reading import record_of, whole
from gkd_lightning.data.annotations.shapes import Annotations, Builder, Damaged, Part, box, mask, polygon
from gkd_lightning.data.images import IMAGE_SUFFIXES

_OF_THE_WHOLE = ("choices", "textarea", "rating", "taxonomy", "number", "datetime", "relation")
"""Kinds of results that are about no part of an image."""
_OPAQUE = 128
"""Alpha of a brush from which on a pixel is inside; edges are smooth."""


def read_label_studio(path: str, plain: list[dict[str, Any]]) -> Annotations:
    """All of a file.

    Args:
        path: for messages.
        plain: what it holds.

    Raises:
        UserError: names the task that is damaged, has several annotations, or a shape without an area.
    """
    builder = Builder()
    for place, task in enumerate(plain):
        number = task.get("id", place) if isinstance(task, dict) else place
        with record_of(path, f"task {number}"):
            kept = [each for each in task["annotations"] if not each.get("was_cancelled")]
            if len(kept) > 1:
                raise Damaged(f"has {len(kept)} annotations, of which one can be meant")
            results = [each for one in kept for each in one["result"] if each["type"] not in _OF_THE_WHOLE]
            sizes = {
                (whole(each["original_height"], "height"), whole(each["original_width"], "width")) for each in results
            }
            if len(sizes) > 1:
                raise Damaged("is of two sizes")
            height, width = next(iter(sizes), (0, 0))
            builder.image(_image_of(task["data"]), height, width)
        for each in results:
            with record_of(path, f"task {number}: result {each.get('id', 'without id')}"):
                names = each["value"].get(each["type"], ())
                if len(names) != 1:
                    raise Damaged(f"a {each['type']} of {len(names)} classes; one is needed")
                builder.shape(str(names[0]), [_part(each["type"], each["value"], height, width)])
    return builder.done("label-studio", [path])


def _image_of(data: dict[str, Any]) -> str:
    """The path of a task's image: of `/data/local-files/?d=PATH`, of an upload, or of another address."""
    found = []
    for value in data.values():
        if isinstance(value, str):
            parts = urlsplit(value)
            name = (parse_qs(parts.query).get("d") or [unquote(parts.path)])[0]
            found += [name] if name.lower().endswith(IMAGE_SUFFIXES) else []
    if len(found) != 1:
        raise Damaged(f"names {len(found)} images in data; one is needed")
    return found[0].lstrip("/")


def _part(kind: str, value: dict[str, Any], height: int, width: int) -> Part:
    if kind == "polygonlabels":
        return polygon([[x * width / 100, y * height / 100] for x, y in value["points"]])
    if kind == "rectanglelabels":
        if value.get("rotation"):
            raise Damaged("a box that is turned; draw it as a polygon")
        x, y = value["x"] * width / 100, value["y"] * height / 100
        return box(x, y, x + value["width"] * width / 100, y + value["height"] * height / 100)
    if kind == "brushlabels":
        if value.get("format") != "rle":
            raise Damaged(f"a brush of the format {value.get('format')!r}; rle is read")
        pixels = _unpacked(bytes(value["rle"]))
        if len(pixels) != 4 * height * width:
            raise Damaged(f"a brush of {len(pixels) // 4:,} pixels in {width}x{height} = {width * height:,}")
        return mask(pixels[3::4].reshape(height, width) >= _OPAQUE, 0, 0)
    raise Damaged(f"{kind} are not read; polygonlabels, rectanglelabels and brushlabels are")


def _unpacked(data: bytes) -> NDArray[np.uint8]:
    """Bytes from packed runs: red, green, blue and alpha of every pixel, row by row.

    The format is that of `@thi.ng/rle-pack`: a stream of bits, the highest first. 32 say how many values follow, 5 how
    many bits one has, less 1, and four times 4 how many bits the four kinds of lengths have, less 1. Then, again and
    again: a bit that says whether one value is repeated, 2 of the kind of length, the length less 1, one value or all.
    """
    place = 0

    def take(count: int) -> int:
        nonlocal place
        begin, place = place, place + count
        if place > 8 * len(data):
            raise Damaged("a brush whose runs end early")
        few = int.from_bytes(data[begin // 8 : -(-place // 8)], "big")
        return (few >> -place % 8) & ((1 << count) - 1)

    total, word = take(32), take(5) + 1
    lengths = [take(4) + 1 for _ in range(4)]
    if word > 8:
        raise Damaged(f"a brush of {word} bits a value; 8 are read")
    values = np.zeros(total, np.uint8)
    start = 0
    while start < total:
        repeated = take(1)
        end = start + 1 + take(lengths[take(2)])
        if end > total:
            raise Damaged("a brush whose runs are longer than it says")
        values[start:end] = take(word) if repeated else [take(word) for _ in range(start, end)]
        start = end
    return values
