"""COCO's instances (https://cocodataset.org/#format-data): one JSON of polygons and runs; Roboflow writes the same."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from gkd_lightning.data.annotations.reading import record_of, whole
from gkd_lightning.data.annotations.shapes import COLUMNS, Annotations, Builder, Damaged, Part, polygon, runs
from gkd_lightning.errors import UserError


def read_coco(path: str, plain: dict[str, Any]) -> Annotations:
    """All of a file.

    Args:
        path: for messages.
        plain: what it holds.

    Raises:
        UserError: names the record that is damaged.
    """
    with record_of(path, "annotations"):
        panoptic = any("segments_info" in each for each in plain["annotations"])
    if panoptic:
        raise UserError(f"{path}: holds panoptic segments, whose pixels are in PNGs; take data.CocoPanoptic for it")
    with record_of(path, "categories"):
        listed = [(each["id"], str(each["name"]), each.get("supercategory")) for each in plain["categories"]]
        names = {number: name for number, name, _ in listed}
        if len(names) < len(listed):
            raise Damaged("two have one id")
    of_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for place, each in enumerate(plain["annotations"]):
        with record_of(path, f"annotation {place} of the list"):
            of_image[each["image_id"]].append(each)
    with record_of(path, "categories"):
        used = {each.get("category_id") for each in plain["annotations"]}
        parents = {parent for _, _, parent in listed}
        # Roboflow lists the project itself as a category, of which there is nothing
        builder = Builder(name for number, name in names.items() if number in used or name not in parents)
    for place, image in enumerate(plain["images"]):
        with record_of(path, f"image {place} of the list"):
            number, record = image["id"], str(image["file_name"])
            size = whole(image.get("height", 0), "height"), whole(image.get("width", 0), "width")
            builder.image(record, *size)
        for each in of_image.pop(number, ()):
            with record_of(path, f"annotation {each.get('id', 'without id')} of {record}"):
                if each["category_id"] not in names:
                    raise Damaged(f"is of category {each['category_id']}, which the file lacks")
                parts = _parts(each.get("segmentation"), *size)
                builder.shape(names[each["category_id"]], parts, crowd=bool(each.get("iscrowd", 0)))
    if of_image:
        number, (first, *_) = next(iter(of_image.items()))
        raise UserError(
            f"{path}: annotation {first.get('id', 'without id')} is of image {number}, which the file lacks or lists "
            "twice; export it again"
        )
    return builder.done("coco", [path])


def _parts(found: Any, height: int, width: int) -> list[Part]:
    if not found:
        raise Damaged("has no segmentation, such as a box alone")
    if isinstance(found, list):
        return [polygon(corners) for corners in found]
    counts = found["counts"]
    rows, columns = (whole(value, "size") for value in found["size"])
    if height and (rows, columns) != (height, width):
        raise Damaged(f"its runs are for {columns}x{rows} pixels, the image has {width}x{height}")
    return [runs(_decoded(counts) if isinstance(counts, str) else counts, 0, 0, columns, rows, COLUMNS)]


def _decoded(text: str) -> list[int]:
    """Lengths of runs from the text that pycocotools makes of them.

    A letter holds five bits, the lowest first, beside one that says whether more follow; the last one's highest bit is
    the sign. From the fourth number on it is the difference to the last but one.
    """
    lengths: list[int] = []
    value = bits = 0
    for letter in text.encode():
        six = letter - 48
        if not 0 <= six < 64:
            raise Damaged(f"runs with the letter {chr(letter)!r}, which pycocotools does not write")
        value |= (six & 31) << bits
        bits += 5
        if six & 32:
            continue
        if six & 16:
            value -= 1 << bits
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = bits = 0
    if bits:
        raise Damaged("runs that end inside a number")
    return lengths
