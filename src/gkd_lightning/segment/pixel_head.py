"""Heads whose output is the logits of every pixel's classes: their losses and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from gkd_lightning.segment.pixel_losses import CROSS_ENTROPY, PixelCriterion, PixelLosses
from gkd_lightning.segment.pyramid import resized
from gkd_lightning.segment.segmentation_head import SegmentationHead, TaskLosses


class PixelHead(SegmentationHead):
    """A head that classifies pixels: derive from it, make the layers in `attach`, and give logits in `forward`.

    Args:
        losses: which losses are summed, and their settings.
    """

    criterion: PixelCriterion

    def __init__(self, losses: PixelLosses = CROSS_ENTROPY) -> None:
        super().__init__()
        self.losses = PixelLosses(**losses) if isinstance(losses, Mapping) else losses  # a record holds a mapping

    def attach(self, feature_dims: Sequence[int], num_classes: int) -> None:
        """Make the criterion; a head adds its layers.

        Raises:
            UserError: the losses do not fit the number of classes.
        """
        self.criterion = PixelCriterion(self.losses, num_classes)

    def loss(self, output: Tensor, labels: Tensor, keys: Tensor) -> TaskLosses:
        """See `PixelCriterion`."""
        losses: TaskLosses = self.criterion(output, labels)
        return losses

    def scores(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """Probabilities."""
        return resized(output.float(), size).softmax(1)
