"""Losses of heads that give every pixel the logits of its classes: which of them are summed, and what each one is."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gkd_lightning.errors import UserError
from gkd_lightning.precision import full_precision
from gkd_lightning.ranges import InnerShare, Natural, Positive, Ranged, Weight
from gkd_lightning.ranks import mean_over_ranks
from gkd_lightning.segment.pyramid import resized
from gkd_lightning.segment.segmentation_head import TaskLosses

IGNORED = 255
"""Train id of pixels without truth."""
EDGE, TOLERANCE = 3, 5
"""Sides in pixels of the windows that make an edge of a mask, and that an edge may be missed by."""


@dataclass(frozen=True)
class PixelLosses(Ranged):
    """Weights of the losses that are summed, 0 leaves one out; and what they are set to.

    Attributes:
        cross_entropy: of every labelled pixel.
        ohem: cross-entropy of the hard pixels alone, see `ohem_threshold`.
        dice: ``1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1)`` of every class in an image's labels, p its
            probabilities and t its mask (V-Net, arXiv 1606.04797, with Mask2Former's 1).
        boundary: 1 - F1 of the edges of every class in an image's labels (arXiv 1905.07852).
        ohem_threshold: a pixel is hard if the probability of its class is below it,
        ohem_min_kept: or if so many pixels of its image have a lower one.
        class_weights: weights of pixels and masks by class, in the order of train ids, in all four; null: all alike.
    """

    cross_entropy: Weight = 1.0
    ohem: Weight = 0.0
    dice: Weight = 0.0
    boundary: Weight = 0.0
    ohem_threshold: InnerShare = 0.7
    ohem_min_kept: Natural = 100_000
    class_weights: list[Positive] | None = None

    @property
    def weights(self) -> dict[str, float]:
        """Those above 0, by the name of the loss."""
        found = {name: asdict(self)[name] for name in ("cross_entropy", "ohem", "dice", "boundary")}
        return {name: weight for name, weight in found.items() if weight > 0}


CROSS_ENTROPY = PixelLosses()


class PixelCriterion(nn.Module):
    """Weighted sum of losses, each a mean over pixels or masks of all ranks: two ranks give the loss of one process.

    Nothing in an image depends on the others of its batch, nor on the device's count of values.

    Args:
        settings: what is summed.
        num_classes: K.

    Raises:
        UserError: no loss is left, or there are more or fewer class weights than classes.
    """

    class_weights: Tensor

    def __init__(self, settings: PixelLosses, num_classes: int) -> None:
        super().__init__()
        self.settings = settings
        if not self.settings.weights:
            raise UserError("head.losses: all weights are 0, nothing would be learned")
        given = self.settings.class_weights
        if given is not None and len(given) != num_classes:
            raise UserError(f"head.losses.class_weights: {len(given)} weights, but there are {num_classes} classes")
        weights = torch.ones(num_classes) if given is None else torch.tensor(given)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> TaskLosses:
        """Losses of (B, K, h, w) logits, which are enlarged, against (B, H, W) uint8 labels.

        Raises:
            UserError: a label is no class (on a GPU CUDA's own assertion stops the run: nothing waits for the labels).
        """
        truth = labels.long()
        known = truth != IGNORED
        classes = len(self.class_weights)
        if labels.device.type == "cpu" and (known & (truth >= classes)).any():
            raise UserError(
                f"label id {int(truth[known].max())} in a training label, but num_classes is {classes}: "
                "check the class map"
            )
        with full_precision(labels.device.type):
            logits = resized(logits.float(), (labels.shape[-2], labels.shape[-1]))
            sums = self._sums(logits, truth.where(known, 0), known)
            counts = mean_over_ranks(torch.stack([count for _, count in sums.values()])).clamp(min=1e-6)
            terms = {
                name: self.settings.weights[name] * total / count
                for (name, (total, _)), count in zip(sums.items(), counts, strict=True)
            }
        named = {f"loss_{'entropy' if name == 'cross_entropy' else name}": term for name, term in terms.items()}
        return TaskLosses(torch.stack(list(named.values())).sum(), named)

    def _sums(self, logits: Tensor, truth: Tensor, known: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Sum and count of each loss over this rank's images; `truth` is 0 where it is not `known`."""
        wanted, sums = self.settings.weights, {}
        if "cross_entropy" in wanted or "ohem" in wanted:
            entropy = F.cross_entropy(logits, truth, reduction="none")
            weights = self.class_weights[truth] * known
            if "cross_entropy" in wanted:
                sums["cross_entropy"] = (entropy * weights).sum(), weights.sum()
            if "ohem" in wanted:
                hard = hard_pixels(entropy.detach(), known, self.settings.ohem_threshold, self.settings.ohem_min_kept)
                sums["ohem"] = (entropy * weights * hard).sum(), (weights * hard).sum()
        if "dice" in wanted or "boundary" in wanted:
            seen = known[:, None]
            ids = torch.arange(logits.shape[1], device=logits.device)[:, None, None]
            masks = ((truth[:, None] == ids) & seen).float()  # (B, K, H, W)
            probability = logits.softmax(1) * seen
            for name, loss in (("dice", dice), ("boundary", boundary)):
                if name in wanted:
                    each, counted = loss(probability, masks, seen)
                    weights = self.class_weights * counted
                    sums[name] = (each * weights).sum(), weights.sum()
        return sums


def hard_pixels(entropy: Tensor, known: Tensor, threshold: float, min_kept: int) -> Tensor:
    """Which of (B, H, W) pixels are learned from: those below `threshold`, or the hardest `min_kept` if these are more.

    mmseg's ``OHEMPixelSampler``, image by image: there the hardest are those of a device's whole batch, so that the
    loss depends on how the batch is spread.
    """
    probability = (-entropy).exp().masked_fill(~known, 2.0).flatten(1)
    last = known.flatten(1).sum(1, keepdim=True).sub(1).clamp(min=0, max=min_kept)
    limit = probability.sort(dim=1).values.gather(1, last).clamp(min=threshold)
    return (probability < limit).view_as(known) & known


def dice(probability: Tensor, masks: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of every class in every image (B, K), and whether it is in the image; arguments as in `boundary`."""
    pixels = masks.sum((2, 3))
    common = (probability * masks).sum((2, 3))
    return 1 - (2 * common + 1) / (probability.sum((2, 3)) + pixels + 1), pixels > 0


def boundary(probability: Tensor, masks: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """1 - F1 of the edges of every class in every image (B, K), and whether it has an edge in the labels.

    The edge of a map y is what an erosion takes from it, ``pool(1 - y) - (1 - y)``; found counts what lies within the
    widened edge of the other. Beside pixels without truth there is no edge.

    Source: Bokhovkin and Burnaev, Boundary Loss for Remote Sensing Imagery Semantic Segmentation, arXiv 1905.07852.

    Args:
        probability: (B, K, H, W), 0 where there is no truth.
        masks: 1 where a pixel is of the class, else 0.
        known: (B, 1, H, W) where there is truth.
    """
    inside = 1 - _widened((~known).float(), EDGE)
    found, true = ((_widened(1 - each, EDGE) - (1 - each)) * inside for each in (probability, masks))
    length = true.sum((2, 3))
    precision = (found * _widened(true, TOLERANCE)).sum((2, 3)) / found.sum((2, 3)).clamp(min=1e-6)
    recall = (true * _widened(found, TOLERANCE)).sum((2, 3)) / length.clamp(min=1e-6)
    return 1 - 2 * precision * recall / (precision + recall).clamp(min=1e-6), length > 0


def _widened(maps: Tensor, side: int) -> Tensor:
    return F.max_pool2d(maps, side, stride=1, padding=side // 2)
