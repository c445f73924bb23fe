"""Deformable attention's sampling as gathers and sums, for graphs that leave this library.

`grid_sample` becomes ONNX's GridSample, which compilers for devices lack or translate wrongly without a word. Here a
bilinear sample is what it is: four pixels and their shares. Only an export runs this; training and inference take
`sampling.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gkd_lightning.segment.levels import Shapes


def gathered_samples(value: Tensor, place: Tensor, weight: Tensor, shapes: Shapes) -> Tensor:
    """`sampling.weighted_samples`: sum over levels and points of weight times the bilinear sample.

    Args:
        value: (R, D, N) pixels of all levels, one level after the other.
        place: (levels, R, points, N, 2) where the N queries look, (x, y) in [-1, 1].
        weight: (R, levels, points, N).
        shapes: (height, width) of each level.

    Returns:
        (R, D, N); what lies outside a map is 0.
    """
    rows, dim, count = value.shape
    points = place.shape[2]
    total: Tensor | None = None
    parts = value.split([height * width for height, width in shapes], dim=2)
    for level, (part, (height, width)) in enumerate(zip(parts, shapes, strict=True)):
        x = (place[level, ..., 0] + 1) * (width / 2) - 0.5  # (R, points, N), in pixels
        y = (place[level, ..., 1] + 1) * (height / 2) - 0.5
        left, top = x.floor(), y.floor()
        for column, share_x in ((left, left + 1 - x), (left + 1, x - left)):
            for row, share_y in ((top, top + 1 - y), (top + 1, y - top)):
                inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
                share = share_x * share_y * inside * weight[:, level]
                pixel = torch.where(inside, row * width + column, 0.0).long()  # any will do where the share is 0
                index = pixel.reshape(rows, 1, points * count).expand(rows, dim, points * count)
                sampled = part.gather(2, index).reshape(rows, dim, points, count)
                taken = (sampled * share[:, None]).sum(2)
                total = taken if total is None else total + taken
    assert total is not None
    return total
