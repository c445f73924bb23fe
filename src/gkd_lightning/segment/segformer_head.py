"""SegFormer's head: no attention, no neighbourhood, a small perceptron for every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Count, Momentum
from gkd_lightning.segment.pixel_head import PixelHead
from gkd_lightning.segment.pixel_losses import CROSS_ENTROPY, PixelLosses
from gkd_lightning.segment.pyramid import Level, resized

_GROUPS = 32


class SegformerHead(PixelHead):
    """SegFormer's all-MLP decoder (arXiv 2105.15203, section 3.2), the authors' second head.

    Each level through a matrix of its own to one width, all enlarged to the finest size and side by side, a matrix,
    norm and ReLU, a matrix to the classes. The norm is over groups of channels: over the batch, as published, it would
    depend on how the batch is spread over devices.

    Args:
        width: of the levels and of what they are fused to, a multiple of 32 (group norm).
        dropout: share of channels' values that a step leaves out before the classes (published: 0.1). They are drawn
            from the device's own generator, so that an interrupted run goes on with others.
        losses: which losses are summed, and their settings.
    """

    def __init__(self, width: Count = 256, dropout: Momentum = 0.0, losses: PixelLosses = CROSS_ENTROPY) -> None:
        super().__init__(losses)
        if width % _GROUPS:
            raise UserError(f"head.width: {width} must be a multiple of {_GROUPS} (group norm)")
        self.width = width
        self.dropout = nn.Dropout(dropout)

    def attach(self, feature_dims: Sequence[int], num_classes: int) -> None:
        """Make the layers."""
        super().attach(feature_dims, num_classes)
        width = self.width
        self.projections = nn.ModuleList(nn.Conv2d(dim, width, 1) for dim in feature_dims)
        self.fuse = nn.Conv2d(len(feature_dims) * width, width, 1, bias=False)
        self.norm = nn.GroupNorm(_GROUPS, width)
        self.classes = nn.Conv2d(width, num_classes, 1)

    def forward(self, pyramid: Sequence[Level]) -> Tensor:
        """Logits (B, K, h, w) at the finest level's size.

        A level's share of the fusing matrix is applied on its own small map: matrices and bilinear enlarging can change
        places, and a sum of enlarged maps is the product of the maps side by side.
        """
        size, shares = pyramid[0].size, self.fuse.weight.split(self.width, dim=1)
        parts = []
        for level, projection, share in zip(pyramid, self.projections, shares, strict=True):
            part = level.projected(partial(_twice, projection=projection, share=share))
            parts.append(resized(part, size))
        fused = torch.stack(parts).sum(0)
        logits: Tensor = self.classes(self.dropout(F.relu(self.norm(fused))))
        return logits


def _twice(maps: Tensor, projection: nn.Module, share: Tensor) -> Tensor:
    return F.conv2d(projection(maps), share)
