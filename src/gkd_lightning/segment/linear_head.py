"""The plainest head: a normalised feature of every pixel, and one matrix to its classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Natural
from gkd_lightning.segment.pixel_head import PixelHead
from gkd_lightning.segment.pixel_losses import CROSS_ENTROPY, PixelLosses
from gkd_lightning.segment.pyramid import Level, resized


class LinearHead(PixelHead):
    """Layer norm of each level, all levels at one size side by side, a 1x1 convolution.

    A product per level on the map as the encoder gave it, summed, is the product of the levels side by side: the
    matrix and the bilinear resizing change places.

    Args:
        level: the level at whose size all are brought together, 0 is the finest.
        losses: which losses are summed, and their settings.
    """

    def __init__(self, level: Natural = 0, losses: PixelLosses = CROSS_ENTROPY) -> None:
        super().__init__(losses)
        self.level = level

    def attach(self, feature_dims: Sequence[int], num_classes: int) -> None:
        """Make norms and projections.

        Raises:
            UserError: there is no such level.
        """
        super().attach(feature_dims, num_classes)
        if self.level >= len(feature_dims):
            raise UserError(f"head.level: {self.level}, but there are levels 0 to {len(feature_dims) - 1}")
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for dim in feature_dims)
        self.projections = nn.ModuleList(_projection(dim, num_classes) for dim in feature_dims)
        self.bias = nn.Parameter(torch.zeros(num_classes, 1, 1))

    def forward(self, pyramid: Sequence[Level]) -> Tensor:
        """Logits (B, K, h, w) at the size of the chosen level."""
        size = pyramid[self.level].size
        logits: Tensor = self.bias
        for level, norm, projection in zip(pyramid, self.norms, self.projections, strict=True):
            normalized = level._replace(map=norm(level.map.movedim(1, -1)).movedim(-1, 1))
            logits = logits + resized(normalized.projected(projection), size)
        return logits


def _projection(dim: int, num_classes: int) -> nn.Conv2d:
    projection = nn.Conv2d(dim, num_classes, 1, bias=False)
    nn.init.normal_(projection.weight, std=0.01)
    return projection
