"""A head whose queries each answer with a class and a mask: Mask2Former's loss, and class scores of every pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from gkd_lightning.segment.criterion import Mask2FormerCriterion
from gkd_lightning.segment.mask2former import HeadOutput, Mask2FormerConfig
from gkd_lightning.segment.mask_scores import semantic_scores
from gkd_lightning.segment.points import KeyedPoints
from gkd_lightning.segment.segmentation_head import SegmentationHead, TaskLosses


class QueryHead(SegmentationHead):
    """Its `forward` gives a `HeadOutput`."""

    config: Mask2FormerConfig
    """Of the loss, and how many queries there are."""
    criterion: Mask2FormerCriterion

    @property
    def panoptic(self) -> bool:
        """As it is set."""
        return self.config.panoptic

    @property
    def values_per_pixel(self) -> int:
        """A mask value for every query."""
        return self.config.queries

    def loss(self, output: HeadOutput, labels: Tensor, keys: Tensor) -> TaskLosses:
        """See `Mask2FormerCriterion`; the points come from the keys."""
        losses = self.criterion(output, labels, KeyedPoints(keys.tolist()))
        return TaskLosses(losses.total, losses.sums())

    def dry_loss(self, output: HeadOutput, labels: Tensor, keys: Tensor) -> Tensor:
        """All that the loss depends on, but not matching and loss themselves.

        With a gradient for every mask, of which a step takes the matched ones only: a twentieth too much.
        """
        masks = [output.masks(layer) for layer in range(len(output.classes))]
        return torch.stack([score.float().mean() for score in (output.classes, *masks)]).sum()

    def scores(self, output: HeadOutput, size: tuple[int, int]) -> Tensor:
        """Those of the last layer, in [0, Q]; see `semantic_scores`."""
        return semantic_scores(output.classes[-1], output.masks(-1), size)
