"""From a label map to one mask per class."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Targets(NamedTuple):
    """Truth of a batch; a class that an image lacks keeps its (empty) place, so shapes need no look at the data."""

    masks: Tensor
    """(B, K, H, W) float32, 1 where the pixel has the class. Ignored pixels are 0, background, in every mask."""
    present: Tensor
    """(B, K) bool, classes with at least one pixel."""
    highest: Tensor
    """int, the highest label id that is not the ignored one; K or more means a wrong label map."""


def semantic_targets(label: Tensor, num_classes: int, ignore: int = 255) -> Targets:
    """Targets of (B, H, W) uint8 train ids; `ignore` (padding too) is no class.

    An image without a valid pixel has no class present. Source: mmseg 1.2.2 ``mask2former_head.py``, lines 52-100.
    """
    classes = torch.arange(num_classes, device=label.device, dtype=label.dtype)
    masks = label[:, None] == classes[:, None, None]
    highest = label.masked_fill(label == ignore, 0).max()
    return Targets(masks.float(), masks.flatten(2).any(dim=2), highest)
