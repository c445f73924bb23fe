"""Imitations of data that tell things apart and have no card of their own: COCO's panoptic files, anybody's folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data.fakes.scenes import Scene, Streets, save
from gkd_lightning.data.types import CITYSCAPES_19

SPLITS = ("train2017", "val2017")


class _Category(NamedTuple):
    id: int
    name: str
    thing: bool = False


_PERSON = _Category(1, "person", True)
_CATEGORIES = {
    0: _Category(149, "road"), 1: _Category(191, "pavement-merged"), 2: _Category(197, "building-other-merged"),
    3: _Category(199, "wall-other-merged"), 4: _Category(185, "fence-merged"), 6: _Category(10, "traffic light", True),
    7: _Category(13, "stop sign", True), 8: _Category(184, "tree-merged"), 9: _Category(193, "grass-merged"),
    10: _Category(187, "sky-other-merged"), 11: _PERSON, 12: _PERSON, 13: _Category(3, "car", True),
    14: _Category(8, "truck", True), 15: _Category(6, "bus", True), 16: _Category(7, "train", True),
    17: _Category(4, "motorcycle", True), 18: _Category(2, "bicycle", True),
}  # fmt: skip
"""Those of COCO's 133 that Cityscapes' train ids are nearest to; poles have none. Source: panopticapi's
panoptic_coco_categories.json, as several libraries repeat it."""


def coco_panoptic(root: Path, images: int, size: tuple[int, int]) -> None:
    """JPEG images, PNGs of segment ids and one JSON a split; poles are no segment, bicycles a crowd."""
    categories = [
        {"id": each.id, "name": each.name, "isthing": int(each.thing), "supercategory": "any"}
        for each in sorted(set(_CATEGORIES.values()))
    ]
    for seed, split in enumerate(SPLITS):
        streets, first = Streets("day", seed=70 + seed, size=size), 139 + 1000 * seed
        plain: dict[str, Any] = {"images": [], "annotations": [], "categories": categories}
        for number in range(first, first + images):
            name, scene = f"{number:012d}", streets.draw()
            ids, segments = _segments(scene)
            save(root / f"{split}/{name}.jpg", scene.image)
            save(root / f"annotations/panoptic_{split}/{name}.png", _colours(ids))
            image = {"id": number, "file_name": f"{name}.jpg", "width": size[0], "height": size[1]}
            plain["images"].append(image)
            plain["annotations"].append({"image_id": number, "file_name": f"{name}.png", "segments_info": segments})
        (root / f"annotations/panoptic_{split}.json").write_text(json.dumps(plain), encoding="utf-8")


def _segments(scene: Scene) -> tuple[NDArray[np.int32], list[dict[str, Any]]]:
    """Ids (H, W), 0 for none, and what the JSON says of each."""
    ids = np.zeros(scene.label.shape, np.int32)
    found: list[dict[str, Any]] = []
    for train_id in np.unique(scene.label[scene.label != 255]).tolist():
        category = _CATEGORIES.get(train_id)
        if category is None:
            continue
        own = scene.label == train_id
        for number in np.unique(scene.instances[own]).tolist() if category.thing else [None]:
            pixels = own if number is None else own & (scene.instances == number)
            segment = category.id * 65536 + len(found) + 1
            ids[pixels] = segment
            rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
            left, top = int(columns[0]), int(rows[0])
            box = [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
            crowd = int(number == 0 and train_id in CITYSCAPES_19.thing_ids)  # of lights and signs there is one
            found.append(
                {"id": segment, "category_id": category.id, "iscrowd": crowd, "bbox": box, "area": int(pixels.sum())}
            )
    return ids, found


def _colours(ids: NDArray[np.int32]) -> NDArray[np.uint8]:
    """`id = R + 256 G + 256² B`."""
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)


def folders(root: Path, images: int, size: tuple[int, int]) -> None:
    """Images, Cityscapes' train ids and 16 bit instances below folders of their own, named alike."""
    for seed, split in enumerate(("train", "val")):
        streets = Streets("day", seed=72 + seed, size=size)
        for number in range(images):
            name, scene = f"{split}/street_{number:04d}", streets.draw()
            save(root / f"images/{name}.jpg", scene.image)
            save(root / f"labels/{name}.png", scene.label)
            save(root / f"instances/{name}.png", scene.instances.astype(np.uint16))
