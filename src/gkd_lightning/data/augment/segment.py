"""Stage 2 augmentation, the list of mmsegmentation's Mask2Former recipes: settings and rules.

Resize the short edge to one of 16 sizes, crop so that no class fills the crop, flip, distort the colours,
pad. Geometry and flip run in one strict albumentations pipeline; the crop rule and the colour distortion
follow mmsegmentation's description, since albumentations' own differ. Padding is the rounded ImageNet mean
(uint8 stands before normalisation; a listed deviation of at most half a grey level) and label 255.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from gkd_lightning.data.labels import class_counts
from gkd_lightning.data.types import Label
from gkd_lightning.ranges import Ascending, Natural, Pixels, Range, Share, Weight, check_arguments

IMAGENET_MEAN_PIXEL = (124, 116, 104)
"""Rounded 123.675, 116.28, 103.53."""
IGNORED = 255


@dataclass(frozen=True)
class SegmentAugmentation:
    """Settings of stage 2; the defaults are the official ones (task_learning's experiment configs).

    Args:
        short_edges: sizes of which one is drawn for the short edge; empty = 16 sizes, half to twice the crop.
        longest_edge: the long edge is kept to this many pixels; 0 = four times the crop (2048 for 512).
        largest_class: a crop is drawn anew, up to ten times, while its biggest class fills this share of the
            pixels with truth, or more; 1 accepts every crop.
        flip: probability of a horizontal flip.
        distortion: probability of each of the four colour changes.
        brightness: added grey levels, at most.
        contrast: range of the factor.
        saturation: range of the factor.
        hue: shift on OpenCV's circle of 180, from minus this to one less than this.
    """

    short_edges: tuple[Pixels, ...] = ()
    longest_edge: Natural = 0
    largest_class: Share = 0.75
    flip: Share = 0.5
    distortion: Share = 0.5
    brightness: Annotated[float, Range(0, 255)] = 32
    contrast: Annotated[tuple[Weight, Weight], Ascending()] = (0.5, 1.5)
    saturation: Annotated[tuple[Weight, Weight], Ascending()] = (0.5, 1.5)
    hue: Annotated[int, Range(0, 90)] = 18

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self))


def default_short_edges(size: int) -> tuple[int, ...]:
    """Half to twice `size` in steps of a tenth: for 512 the sixteen sizes 256, 307, ... 1024."""
    return tuple(int(size * tenth / 10) for tenth in range(5, 21))


def short_edge_size(height: int, width: int, short_edge: int, longest_edge: int) -> tuple[int, int]:
    """(width, height) after scaling the short edge to `short_edge` unless the long one would exceed its limit."""
    scale = short_edge / min(height, width)
    exact_height, exact_width = (
        (float(short_edge), scale * width) if height < width else (scale * height, float(short_edge))
    )
    longest = max(exact_height, exact_width)
    if longest > longest_edge:
        exact_height, exact_width = exact_height * longest_edge / longest, exact_width * longest_edge / longest
    return int(exact_width + 0.5), int(exact_height + 0.5)


def draw_crop(
    label: Label, size: int, largest_class: float, draw: Callable[[int, int], int]
) -> tuple[int, int, int, int]:
    """A crop (y1, y2, x1, x2) in which no class fills `largest_class` of the pixels that have truth, or more.

    After ten refusals the eleventh crop is taken as it is. A crop with fewer than two classes is refused too.

    Args:
        draw: gives an integer from `low` to `high` - 1.
    """
    height, width = label.shape

    def candidate() -> tuple[int, int, int, int]:
        top, left = draw(0, max(height - size, 0) + 1), draw(0, max(width - size, 0) + 1)
        return top, min(top + size, height), left, min(left + size, width)

    box = candidate()
    if largest_class >= 1:
        return box
    for _ in range(10):
        top, bottom, left, right = box
        counts = class_counts(label[top:bottom, left:right])[:IGNORED]
        if np.count_nonzero(counts) > 1 and counts.max() < largest_class * counts.sum():
            break
        box = candidate()
    return box
