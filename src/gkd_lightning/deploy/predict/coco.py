"""Predictions as COCO annotations: a mask a class and image, run-length encoded as `pycocotools` reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Segment = dict[str, Any]
"""`category_id` (the class's id), `segmentation` (COCO's run-length encoding), `area`, `bbox`, `iscrowd`, `score`."""

_BITS, _SIGN, _MORE, _FIRST = 5, 16, 32, 48
_MOST_LETTERS = 7
"""Of a number below 2**31 and its sign, five bits a letter."""


def segments(ids: NDArray[np.uint8], confidence: NDArray[np.float32], classes: Iterable[int]) -> list[Segment]:
    """A segment for each of `classes` that has a pixel.

    Args:
        ids: (H, W).
        confidence: (H, W); the score of a segment is its mean.
        classes: ids to look for.
    """
    found = []
    present = set(np.flatnonzero(np.bincount(ids.ravel(), minlength=256)).tolist())
    upright = np.ascontiguousarray(ids.T)  # COCO counts down the columns
    for number in classes:
        if number not in present:
            continue
        mask = upright == number
        columns, rows = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        left, top = int(columns[0]), int(rows[0])
        found.append(
            {
                "category_id": number,
                "segmentation": {"size": list(ids.shape), "counts": run_lengths(mask.ravel())},
                "area": int(mask.sum()),
                "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
                "iscrowd": 0,
                "score": round(float(confidence.T[mask].mean(dtype=np.float64)), 6),
            }
        )
    return found


def run_lengths(mask: NDArray[np.bool_]) -> str:
    """COCO's compressed encoding of a mask that was laid out column by column.

    Lengths of runs, the first of zeros; from the fourth on the difference to the one before the last; each number in
    groups of five bits, the lowest first, as a letter from ``0`` on that also says whether more follow.
    """
    changes = np.flatnonzero(mask[1:] != mask[:-1]) + 1
    begin = [0, 0] if mask[0] else [0]
    lengths = np.diff(np.concatenate([begin, changes, [mask.size]])).astype(np.int64)
    rest = lengths.copy()
    rest[3:] -= lengths[1:-2]
    letters = np.zeros((len(rest), _MOST_LETTERS), np.uint8)
    used = np.zeros(letters.shape, bool)
    more = np.ones(len(rest), bool)
    for place in range(_MOST_LETTERS):
        bits = rest & (_MORE - 1)
        rest >>= _BITS
        used[:, place] = more
        more = more & (rest != np.where(bits & _SIGN, -1, 0))
        letters[:, place] = bits + _MORE * more + _FIRST
    return letters[used].tobytes().decode("ascii")


def dataset(
    classes: Mapping[int, str], images: Iterable[tuple[str, tuple[int, int], Sequence[Segment]]]
) -> dict[str, Any]:
    """What `pycocotools.coco.COCO` opens; its `annotations` are what `loadRes` takes.

    Args:
        classes: name by id.
        images: name, (height, width) and segments of each.
    """
    found: dict[str, Any] = {
        "info": {"description": "gkd predict"},
        "images": [],
        "categories": [{"id": number, "name": name} for number, name in classes.items()],
        "annotations": [],
    }
    for name, (height, width), of_image in images:
        number = len(found["images"]) + 1
        found["images"].append({"id": number, "file_name": name, "height": height, "width": width})
        for segment in of_image:
            found["annotations"].append({"id": len(found["annotations"]) + 1, "image_id": number, **segment})
    return found
