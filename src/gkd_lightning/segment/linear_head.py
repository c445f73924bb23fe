"""The plainest head: a normalised feature of every pixel, and one matrix to its classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gkd_lightning.errors import UserError
from gkd_lightning.precision import full_precision
from gkd_lightning.ranges import Natural
from gkd_lightning.ranks import mean_over_ranks
from gkd_lightning.segment.pyramid import Level, resized
from gkd_lightning.segment.segmentation_head import SegmentationHead, TaskLosses

IGNORED = 255
"""Train id of pixels without truth."""


class LinearHead(SegmentationHead):
    """Layer norm of each level, all levels at one size side by side, a 1x1 convolution; cross-entropy of every pixel.

    A product per level on the map as the encoder gave it, summed, is the product of the levels side by side: the
    matrix and the bilinear resizing change places.

    Args:
        level: the level at whose size all are brought together, 0 is the finest.
    """

    def __init__(self, level: Natural = 0) -> None:
        super().__init__()
        self.level = level

    def attach(self, feature_dims: Sequence[int], num_classes: int) -> None:
        """Make norms and projections.

        Raises:
            UserError: there is no such level.
        """
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

    def loss(self, output: Tensor, labels: Tensor, keys: Tensor) -> TaskLosses:
        """Mean cross-entropy over the labelled pixels of all ranks.

        Raises:
            UserError: a label is no class (on a GPU CUDA's own assertion stops the run: nothing waits for the labels).
        """
        truth = labels.long()
        known = truth != IGNORED
        if labels.device.type == "cpu" and (known & (truth >= self.num_classes)).any():
            raise UserError(
                f"label id {int(truth[known].max())} in a training label, but num_classes is {self.num_classes}: "
                "check the class map"
            )
        with full_precision(labels.device.type):
            logits = resized(output.float(), (labels.shape[-2], labels.shape[-1]))
            total = F.cross_entropy(logits, truth, ignore_index=IGNORED, reduction="sum")
            entropy = total / mean_over_ranks(known.sum().float()).clamp(min=1)
        return TaskLosses(entropy, {"loss_entropy": entropy})

    def scores(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """Probabilities."""
        return resized(output.float(), size).softmax(1)


def _projection(dim: int, num_classes: int) -> nn.Conv2d:
    projection = nn.Conv2d(dim, num_classes, 1, bias=False)
    nn.init.normal_(projection.weight, std=0.01)
    return projection
