"""Segments as pictures and in COCO's panoptic format: a PNG of ids, and what each of them is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data import INSTANCE, Image

PANOPTIC = "panoptic"
"""Folder of the PNGs; beside it `panoptic.json`."""


def picture(codes: NDArray[np.int32], ignore: int = 255) -> Image:
    """RGB uint8 (H, W, 3): `id = R + 256 G + 256² B`, and an id is a code + 1; black is no segment."""
    ids = np.where(codes == ignore, 0, codes + 1)
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)


def segments_info(codes: NDArray[np.int32], scores: Mapping[int, float], kept: Collection[int]) -> list[dict[str, Any]]:
    """`segments_info` of one image, and beside what COCO asks for each segment's `score`, its class probability.

    Args:
        codes: (H, W), `class + 256 * k`.
        scores: of every segment.
        kept: classes that are wanted.
    """
    found = []
    for code in sorted(scores):
        mask = codes == code
        if code % INSTANCE not in kept or not mask.any():
            continue
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        left, top = int(columns[0]), int(rows[0])
        found.append(
            {
                "id": code + 1,
                "category_id": code % INSTANCE,
                "iscrowd": 0,
                "area": int(mask.sum()),
                "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
                "score": round(scores[code], 6),
            }
        )
    return found


def dataset(
    classes: Mapping[int, str],
    things: Collection[str],
    images: Iterable[tuple[str, str, tuple[int, int], Sequence[dict[str, Any]]]],
) -> dict[str, Any]:
    """What ``panopticapi`` and `CocoPanoptic` read.

    Args:
        classes: name by id.
        things: names of those that are counted.
        images: file of the image, file of its PNG, (height, width) and `segments_info` of each.
    """
    found: dict[str, Any] = {
        "info": {"description": "gkd predict"},
        "images": [],
        "categories": [{"id": n, "name": name, "isthing": int(name in things)} for n, name in classes.items()],
        "annotations": [],
    }
    for number, (name, file, (height, width), info) in enumerate(images, 1):
        found["images"].append({"id": number, "file_name": name, "height": height, "width": width})
        found["annotations"].append({"image_id": number, "file_name": file, "segments_info": list(info)})
    return found
