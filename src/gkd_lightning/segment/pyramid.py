"""From the block outputs of a plain vision transformer to maps of stride 4, 8, 16 and 32, without parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

SCALES = (4.0, 2.0, 1.0, 0.5)
"""How much the first, second, third and last block's map is enlarged: the last block is the coarsest level.

With 16-pixel patches these are the strides 4, 8, 16 and 32. Smaller patches reach them with smaller scales, at a
fraction of the pixel decoder's cost: (2, 1, 0.5, 0.25) for 8-pixel patches.
"""


class Level(NamedTuple):
    """A level of the pyramid before it is enlarged: what comes first may as well be done on the smaller map."""

    map: Tensor
    """(B, D, h, w)."""
    scale: float = 1.0
    """How much it is enlarged."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) once it is enlarged."""
        height, width = self.map.shape[-2:]
        return int(height * self.scale), int(width * self.scale)

    def enlarged(self) -> Tensor:
        """The level itself, ``(B, D, *size)``, bilinear (align_corners=False).

        Source: ``task_learning/rein/models/backbones/dino_v2.py`` (official code), lines 339-350.
        """
        return _resized(self.map, self.scale)

    def projected(self, projection: Callable[[Tensor], Tensor]) -> Tensor:
        """`projection` of the enlarged level, where `projection` is a matrix and a bias for every pixel.

        Such a product and bilinear weights, which sum to 1, can change places; the smaller map takes less work.
        """
        if self.scale > 1:
            return _resized(projection(self.map), self.scale)
        return projection(self.enlarged())


def default_blocks(depth: int) -> list[int]:
    """The four blocks whose outputs the head sees: after a third, half, two thirds and all of the network.

    Blocks 3, 5, 7, 11 of 12 and 7, 11, 15, 23 of 24, as in the official configurations.
    """
    return [max(1, round(depth * share)) - 1 for share in (1 / 3, 1 / 2, 2 / 3, 1)]


def feature_pyramid(maps: Sequence[Tensor], scales: Sequence[float] = SCALES) -> list[Level]:
    """Levels, finest first, of four (B, D, h, w) block outputs."""
    return [Level(each, scale) for each, scale in zip(maps, scales, strict=True)]


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, D, h, w) brought to `size`, bilinear, unless they have it."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(_for_resizing(maps), size=size, mode="bilinear", align_corners=False)


def _resized(maps: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return maps
    return F.interpolate(_for_resizing(maps), scale_factor=scale, mode="bilinear", align_corners=False)


def _for_resizing(maps: Tensor) -> Tensor:
    # CUDA's kernel for channels that lie together has a thread for every value, the other one only for every pixel.
    return maps.contiguous(memory_format=torch.channels_last) if maps.device.type == "cuda" else maps
