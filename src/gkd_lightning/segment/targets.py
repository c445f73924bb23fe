"""What a label map says about its targets: which there are, where, and how much of them there is at a point."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gkd_lightning.data import INSTANCE


class Targets(NamedTuple):
    """Truth of a batch, T targets an image: its classes, or its segments.

    A class that an image lacks keeps its place, so shapes need no look at the data.
    """

    label: Tensor
    """(B, H, W), the target of every pixel; T or more for no target."""
    present: Tensor
    """(B, T) bool, targets with at least one pixel."""
    highest: Tensor
    """int, the highest class id that is not the ignored one; K or more means a wrong label map."""
    classes: Tensor | None = None
    """(B, T) int64, each target's class; None where target t is class t."""


def semantic_targets(label: Tensor, num_classes: int, ignore: int = 255) -> Targets:
    """Targets of (B, H, W) uint8 train ids; `ignore` (padding too) is no class.

    An image without a valid pixel has no class present. Source: mmseg 1.2.2 ``mask2former_head.py``, lines 52-100.
    """
    ids = label.flatten(1).long()
    found = torch.zeros(len(label), 256, dtype=torch.bool, device=label.device).scatter_(1, ids, True)
    found[:, ignore].fill_(False)  # an assignment would make a tensor on the host
    highest = (found * torch.arange(256, device=label.device)).max()
    return Targets(label, found[:, :num_classes], highest)


def panoptic_targets(codes: Tensor, ignore: int = 255) -> Targets:
    """Targets of (B, H, W) int32 codes, see `data.segments`: a mask for every thing, one for every class of stuff.

    Their number T is that of the image with most; the host waits for it.
    """
    found = [each.unique(return_inverse=True) for each in codes]  # stuff, 255, then things
    known = [values % INSTANCE != ignore for values, _ in found]
    most = max([int(each.sum()) for each in known] + [1])
    label = torch.full_like(codes, most, dtype=torch.int64)
    classes = torch.zeros(len(codes), most, dtype=torch.int64, device=codes.device)
    present = torch.zeros(len(codes), most, dtype=torch.bool, device=codes.device)
    for index, ((values, places), real) in enumerate(zip(found, known, strict=True)):
        own = values[real].long() % INSTANCE
        classes[index, : len(own)] = own
        present[index, : len(own)] = True
        label[index] = torch.where(real, real.cumsum(0) - 1, most)[places]
    return Targets(label, present, classes.max(), classes)


def class_masks(label: Tensor, image: Tensor, classes: Tensor) -> Tensor:
    """(M, H, W) float32, 1 where image `image[i]` of (B, H, W) labels has id `classes[i]`; both (M,) int64.

    Ignored pixels are 0, background, in every mask.
    """
    return (label.index_select(0, image) == classes[:, None, None]).float()


def class_shares(label: Tensor, points: Tensor, num_classes: int) -> Tensor:
    """What bilinear sampling of the masks of all classes would give, from four reads of the label map.

    Args:
        label: (B, H, W) train ids, or those of other targets.
        points: (B, P, 2) (x, y) in [-1, 1] as in `sample_points`.
        num_classes: K; higher ids, as the ignored one, are no class.

    Returns:
        (B, P, K) float32 in [0, 1].
    """
    batch, height, width = label.shape
    x = ((points[..., 0] + 1) * width - 1) / 2
    y = ((points[..., 1] + 1) * height - 1) / 2
    left, top = x.floor(), y.floor()
    row, by_row = torch.stack([top, top + 1], -1)[..., None], torch.stack([top + 1 - y, y - top], -1)[..., None]
    column, by_column = torch.stack([left, left + 1], -1), torch.stack([left + 1 - x, x - left], -1)
    column, by_column = column[..., None, :], by_column[..., None, :]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    place = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)  # (B, P, 2, 2), the four pixels around
    found = label.flatten(1).gather(1, place.long().flatten(1)).view(*points.shape[:2], 4)
    shares = torch.zeros(batch, points.shape[1], num_classes + 1, device=label.device)
    shares.scatter_add_(2, found.long().clamp(max=num_classes), (by_row * by_column * inside).flatten(2))
    return shares[..., :num_classes]
