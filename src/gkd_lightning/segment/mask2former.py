"""A Mask2Former head from outside: what it is set to, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor

from gkd_lightning.ranges import LARGE, Count, Natural, Range, Share, Weight
from gkd_lightning.segment.segmentation_head import HeadSettings


@dataclass(frozen=True)
class Mask2FormerConfig(HeadSettings):
    """Size and loss of a Mask2Former head; the defaults are the official ones (``dinov2_mask2former.py``).

    Attributes:
        hidden_dim: width of pixel decoder, queries and mask features; a multiple of 32 (group norm) and of `heads`.
        encoder_layers: deformable attention layers of the pixel decoder; without any (0) it is projections and sums.
        decoder_layers: layers of the transformer decoder; the outputs before the first one are supervised too.
        heads: attention heads everywhere.
        sampled_points: positions that a head of the pixel decoder looks at on each level.
        encoder_ffn: hidden width of the pixel decoder's feed-forward blocks.
        decoder_ffn: hidden width of the transformer decoder's feed-forward blocks.
        queries: number of (mask, class) predictions; at least the number of classes of an image.
        points: points per mask at which masks are compared, in the matcher and in the losses.
        oversample: times `points` are drawn for every mask before the uncertain ones are chosen.
        importance: share of a mask's points that are the most uncertain drawn ones; the others are uniform.
        no_object_weight: weight of queries without a mask in the class loss.
        class_weight: weight of the class term in the loss and in the matcher.
        mask_weight: weight of the binary cross-entropy of masks, likewise.
        dice_weight: weight of the dice term of masks, likewise.
        segments: what a query answers for: `semantic`, a class; `panoptic`, a thing of its own or a class of stuff.
        score_threshold: of a panoptic map, the least class probability of a query that may be seen (``test_cfg`` of
            mmdet 3.3.0's ``mask2former_r50`` configurations, as in the authors' panoptic ones).
        overlap_threshold: the least share of its own mask that such a query has to win from the others, likewise.
    """

    hidden_dim: Count = 256
    encoder_layers: Natural = 6
    decoder_layers: Count = 9
    heads: Count = 8
    sampled_points: Count = 4
    encoder_ffn: Count = 1024
    decoder_ffn: Count = 2048
    queries: Count = 100
    points: Count = 12544
    oversample: Annotated[float, Range(1, LARGE)] = 3.0
    importance: Share = 0.75
    no_object_weight: Weight = 0.1
    class_weight: Weight = 2.0
    mask_weight: Weight = 5.0
    dice_weight: Weight = 5.0
    segments: Literal["semantic", "panoptic"] = "semantic"
    score_threshold: Share = 0.8
    overlap_threshold: Share = 0.8

    @property
    def record(self) -> dict[str, Any]:
        """The attributes; of a semantic head, to which they say nothing, without those of segments."""
        own = asdict(self)
        if self.segments == "semantic":
            own = {name: value for name, value in own.items() if name not in _OF_SEGMENTS}
        return own

    @property
    def panoptic(self) -> bool:
        """Whether a query answers for one thing."""
        return self.segments == "panoptic"


_OF_SEGMENTS = ("segments", "score_threshold", "overlap_threshold")
OFFICIAL_HEAD = Mask2FormerConfig()


class HeadOutput(NamedTuple):
    """What the head says after each of L layers: the learned queries first, then every decoder layer.

    Masks are kept as the two factors of their logits: most are wanted without a gradient, or not at all.
    """

    classes: Tensor
    """(L, B, Q, K + 1) logits; the last class is `no object`."""
    embeddings: Tensor
    """(L, B, Q, C), what each query looks for in a pixel."""
    pixels: Tensor
    """(B, C, h, w), what there is in each pixel of the finest map, in the precision of the embeddings."""

    def masks(self, layer: int) -> Tensor:
        """Mask logits (B, Q, h, w) after one layer."""
        masks: Tensor = (self.embeddings[layer] @ self.pixels.flatten(2)).unflatten(2, self.pixels.shape[2:])
        return masks

    def masks_of(self, layers: slice) -> Tensor:
        """Mask logits (B, l, Q, h, w) after several layers, by one product for each image."""
        chosen = self.embeddings[layers].transpose(0, 1)
        masks = chosen.flatten(1, 2) @ self.pixels.flatten(2)
        return masks.view(*chosen.shape[:3], *self.pixels.shape[2:])

    def chosen_masks(self, image: Tensor, queries: Tensor, counts: Sequence[int]) -> Tensor:
        """Mask logits (M, L, h, w) of a few queries, whose gradient is a fraction of the work for all queries.

        `image` (M,) is ascending, `counts` says how many of the M each has; `queries` (M, L) has one for each layer.
        """
        layers, batch, number, _ = self.embeddings.shape
        layer = torch.arange(layers, device=queries.device)
        rows = (layer * batch + image[:, None]) * number + queries
        chosen = self.embeddings.flatten(0, 2).index_select(0, rows.flatten()).split([n * layers for n in counts])
        pixels = self.pixels.flatten(2).unbind()
        masks = torch.cat([own @ found for own, found in zip(chosen, pixels, strict=True)])
        return masks.view(-1, layers, *self.pixels.shape[2:])
