"""From the block outputs of a plain vision transformer to maps of stride 4, 8, 16 and 32, without parameters."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

SCALES = (4.0, 2.0, 1.0, 0.5)
"""How much the first, second, third and last block's map is enlarged: the last block is the coarsest level.

With 16-pixel patches these are the strides 4, 8, 16 and 32. Smaller patches reach them with smaller scales, at a
fraction of the pixel decoder's cost: (2, 1, 0.5, 0.25) for 8-pixel patches.
"""


def default_blocks(depth: int) -> list[int]:
    """The four blocks whose outputs the head sees: after a third, half, two thirds and all of the network.

    Blocks 3, 5, 7, 11 of 12 and 7, 11, 15, 23 of 24, as in the official configurations.
    """
    return [max(1, round(depth * share)) - 1 for share in (1 / 3, 1 / 2, 2 / 3, 1)]


def feature_pyramid(maps: Sequence[Tensor], scales: Sequence[float] = SCALES) -> list[Tensor]:
    """Bilinear resize (align_corners=False) of four (B, D, h, w) block outputs by `scales`.

    Source: ``task_learning/rein/models/backbones/dino_v2.py`` (official code), lines 339-350.
    """
    return [
        level if scale == 1 else F.interpolate(level, scale_factor=scale, mode="bilinear", align_corners=False)
        for level, scale in zip(maps, scales, strict=True)
    ]
