"""How well contours and things of each size are met: whole numbers of one image, which add up exactly."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DISTANCE = 0.02
"""How far from a contour counts as its surroundings, of the image's diagonal."""
SIZES = ("small", "medium", "large")
SMALL_BELOW, LARGE_FROM = (1, 300), (3, 100)
"""Of the image's area: COCO's 32² and 96² pixels in an image of 640x480."""
_NOTHING = 255


def boundary_counts(prediction: Tensor, label: Tensor, num_classes: int, ignore: int = 255) -> Tensor:
    """Pixels of each class near a contour, int64 (3, C): in both, in the prediction, in the truth.

    Source: Cheng et al., Boundary IoU, CVPR 2021, equation 2: of each mask the pixels that an erosion by a square takes
    away, for which the image's border is a contour, too. Pixels without truth are of no class in either.

    Args:
        prediction: (H, W) integer class ids.
        label: (H, W), with `ignore` where there is no truth.
        num_classes: C, below 255.
        ignore: the id that is not counted.
    """
    unknown = label == ignore
    maps = torch.stack([prediction.to(torch.uint8), label.to(torch.uint8)]).masked_fill_(unknown, _NOTHING)
    reach = boundary_width(label.shape[-2], label.shape[-1])
    # all else has a row and a column of its own, cut off below
    near = maps.masked_fill(_uniform(maps, reach) | unknown, num_classes).to(torch.int32)
    places = (near[0] * (num_classes + 1) + near[1]).flatten()
    pairs = torch.bincount(places, minlength=(num_classes + 1) ** 2).reshape(num_classes + 1, num_classes + 1)
    return torch.stack([pairs.diagonal(), pairs.sum(1), pairs.sum(0)])[:, :num_classes]


def boundary_width(height: int, width: int) -> int:
    """`DISTANCE` in whole pixels, at least one."""
    return max(1, round(DISTANCE * math.hypot(height, width)))


def _uniform(maps: Tensor, reach: int) -> Tensor:
    """Where a square of `reach` pixels to each side holds one id alone, none outside the image: bool (N, H, W)."""
    padded = torch.nn.functional.pad(maps, (reach,) * 4, value=_NOTHING)
    both = _highest(torch.stack([padded, _NOTHING - padded]), 2 * reach + 1)
    return both[0].eq(_NOTHING - both[1])


def _highest(maps: Tensor, width: int) -> Tensor:
    """Maximum over squares of `width` pixels, of which only those inside are given; few steps for wide ones, too."""
    for axis in (-1, -2):
        done = 1
        while done < width:
            step = min(done, width - done)
            rest = maps.shape[axis] - step
            maps = torch.maximum(maps.narrow(axis, 0, rest), maps.narrow(axis, step, rest))
            done += step
    return maps


def size_counts(prediction: Tensor, label: Tensor, num_classes: int, ignore: int = 255) -> Tensor:
    """Parts of the truth by size: how many, their pixels, and those that are right; int64 (3, SIZES, C).

    A part is what hangs together along edges of pixels and is of one class.

    Args:
        prediction: (H, W) integer class ids.
        label: (H, W), with `ignore` where there is no truth.
        num_classes: C.
        ignore: the id that is not counted.
    """
    truth = label.cpu()
    parts, number = connected_parts(truth.numpy(), ignore)
    flat, ids = torch.from_numpy(parts).flatten().long(), truth.flatten()
    right = (prediction == label).cpu().flatten()
    wrong, hits = torch.bincount(flat + number * right, minlength=2 * number).reshape(2, number)
    classes = torch.zeros(number, dtype=torch.int64).scatter_(0, flat, ids.long())
    area = wrong + hits
    size = (area * SMALL_BELOW[1] >= len(ids) * SMALL_BELOW[0]).long() + (
        area * LARGE_FROM[1] >= len(ids) * LARGE_FROM[0]
    )
    counts = torch.zeros(3, len(SIZES) * num_classes, dtype=torch.int64)
    place = (size * num_classes + classes)[1:]  # the first is what has no truth
    for row, values in zip(counts, (torch.ones_like(area), area, hits), strict=True):
        row.index_add_(0, place, values[1:])
    return counts.reshape(3, len(SIZES), num_classes).to(label.device)


def connected_parts(label: NDArray[np.integer], ignore: int = 255) -> tuple[NDArray[np.int32], int]:
    """What hangs together in (H, W): ids from 1 on, 0 where there is no truth, and the number of ids.

    All classes at once: the pixels are put two apart, what lies between two of one class joins them.
    """
    height, width = label.shape
    known = label != ignore
    apart = np.zeros((2 * height - 1, 2 * width - 1), np.uint8)
    apart[::2, ::2] = known
    apart[1::2, ::2] = known[1:] & (label[1:] == label[:-1])
    apart[::2, 1::2] = known[:, 1:] & (label[:, 1:] == label[:, :-1])
    number, parts = cv2.connectedComponents(apart, connectivity=4, ltype=cv2.CV_32S)
    return np.ascontiguousarray(parts[::2, ::2], np.int32), int(number)
