"""The Mask2Former losses of all layers and images of a step, in one go."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gkd_lightning.precision import full_precision
from gkd_lightning.ranks import mean_over_ranks
from gkd_lightning.segment.mask2former import HeadOutput, Mask2FormerConfig
from gkd_lightning.segment.matcher import Matching, match
from gkd_lightning.segment.points import PointSource, sample_points, uncertain_points
from gkd_lightning.segment.targets import class_masks, panoptic_targets, semantic_targets


class HeadLosses(NamedTuple):
    """Weighted loss terms after each of L layers, float32 (L,); the loss of the head is the sum of all."""

    classes: Tensor
    masks: Tensor
    dice: Tensor

    @property
    def total(self) -> Tensor:
        """Scalar."""
        return torch.stack(self).sum()

    def sums(self) -> dict[str, Tensor]:
        """Each term summed over the layers, by the name under which it is logged."""
        return {f"loss_{name}": values.sum() for name, values in self._asdict().items()}


class Mask2FormerCriterion(nn.Module):
    """Class cross-entropy, mask cross-entropy and dice of matched queries (mmdet 3.3.0 ``mask2former_head.py``).

    Both normalisers, the number of masks and the summed class weights, are means over the ranks, so that two
    ranks give the loss and the gradient of one process with the whole batch. Micro-batches that are accumulated
    are normalised each by its own counts. (mmdetection reduces only the
    first; with one process, as the official runs were made, there is no difference.)
    """

    class_weights: Tensor

    def __init__(self, num_classes: int, config: Mask2FormerConfig) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.config = config
        weights = torch.ones(num_classes + 1)
        weights[-1] = config.no_object_weight
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, output: HeadOutput, label: Tensor, source: PointSource) -> HeadLosses:
        """Losses of a batch against its (B, H, W) uint8 label maps (255 = ignored), or int32 codes of segments."""
        panoptic = self.config.panoptic
        targets = panoptic_targets(label) if panoptic else semantic_targets(label, self.num_classes)
        matching = match(output, targets, source, self.config)
        logits = output.chosen_masks(matching.image, matching.query, matching.counts).float()
        with full_precision(label.device.type):
            masks, total_weight = self._normalizers(output, matching)
            classes = self._class_loss(output.classes.float(), matching) / total_weight
            entropy, dice = self._mask_losses(logits, targets.label, matching, source)
        config = self.config
        return HeadLosses(
            config.class_weight * classes, config.mask_weight * entropy / masks, config.dice_weight * dice / masks
        )

    def _normalizers(self, output: HeadOutput, matching: Matching) -> Tensor:
        queries = matching.query_class[0].numel()
        weight = matching.total + self.config.no_object_weight * (queries - matching.total)
        # Filled on the device: a tensor made of numbers on the host would be copied, and the host would wait.
        sums = torch.full((2,), float(matching.total), device=output.classes.device)
        sums[1].fill_(weight)
        return mean_over_ranks(sums).clamp(min=1)

    def _class_loss(self, logits: Tensor, matching: Matching) -> Tensor:
        losses = F.cross_entropy(
            logits.flatten(0, 2), matching.query_class.flatten(), self.class_weights, reduction="none"
        )
        return losses.view(logits.shape[0], -1).sum(1)

    def _mask_losses(
        self, masks: Tensor, label: Tensor, matching: Matching, source: PointSource
    ) -> tuple[Tensor, Tensor]:
        config = self.config
        points = uncertain_points(
            masks.detach(), matching.counts, source, config.points, config.oversample, config.importance
        )
        truth = class_masks(label, matching.image, matching.target)[:, None]
        truth = sample_points(truth, points.flatten(1, 2))[:, 0].view(points.shape[:-1])  # (M, L, P)
        logits = sample_points(masks.flatten(0, 1)[:, None], points.flatten(0, 1)).view(truth.shape)
        entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(-1)
        probability = logits.sigmoid()
        dice = 1 - (2 * (probability * truth).sum(-1) + 1) / (probability.sum(-1) + truth.sum(-1) + 1)
        return (entropy * matching.matched).sum(0), (dice * matching.matched).sum(0)
