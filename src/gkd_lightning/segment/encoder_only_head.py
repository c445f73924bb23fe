"""Queries in the encoder's last blocks, which do what a decoder would (EoMT, arXiv 2503.19108)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gkd_lightning.encoders import Joining, Looking
from gkd_lightning.ranges import Count, Natural
from gkd_lightning.segment.annealed_masks import OwnMaps, Prediction, mask_probability, seen_patches
from gkd_lightning.segment.criterion import Mask2FormerCriterion
from gkd_lightning.segment.mask2former import HeadOutput, Mask2FormerConfig
from gkd_lightning.segment.pyramid import Level
from gkd_lightning.segment.query_head import QueryHead
from gkd_lightning.segment.segmentation_head import Moment


class EncoderOnlyHead(QueryHead):
    """Learned queries go through the encoder's last blocks with the image's tokens, then say class and mask.

    A mask is the product of what a query has become, through three layers, with the enlarged map of the last block; its
    class is a linear map of it. The losses are Mask2Former's. The paper trains the encoder with it; where that is
    frozen, the queries learn through it.

    With `annealed_masks` a training is the paper's: before each of the blocks, and after the last, the queries are
    judged with the map of the same place, and in the block each attends to the patches of its mask alone, or by chance
    to all, by chance ever more often; in use there are no masks. Without, no query is ever limited, and all are judged
    after every block with the last map. Other than in the paper, queries and maps have a norm of the head's own in the
    place of the encoder's final one.

    Args:
        queries: number of (mask, class) predictions; at least the number of classes of an image.
        blocks: of the encoder, its last ones, that the queries go through; published: 4 of 24.
        doublings: how often the side of the last block's map is doubled: 2 make stride 4 of patches of 16 pixels.
        points: per mask at which masks are compared, as in Mask2Former.
        annealed_masks: whether masks limit the queries in training, see `mask_probability`.
    """

    def __init__(
        self,
        queries: Count = 100,
        blocks: Count = 4,
        doublings: Natural = 2,
        points: Count = 12544,
        annealed_masks: bool = False,
    ) -> None:
        super().__init__()
        self.config = Mask2FormerConfig(queries=queries, points=points)
        self.blocks, self.doublings, self.annealed_masks = blocks, doublings, annealed_masks

    def attach(self, feature_dims: Sequence[int], num_classes: int) -> None:
        """Make the layers, all as wide as the encoder."""
        width = feature_dims[-1]
        self.query = nn.Embedding(self.config.queries, width)
        self.norm = nn.LayerNorm(width)
        self.enlarge = nn.Sequential(*(Doubling(width) for _ in range(self.doublings)))
        self.mask_embedder = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.class_predictor = nn.Linear(width, num_classes + 1)
        self.criterion = Mask2FormerCriterion(num_classes, self.config)

    @property
    def joining(self) -> Joining:
        """The queries."""
        return Joining(self.query.weight, self.blocks)

    def joining_at(self, moment: Moment) -> Joining:
        """The queries, limited to their masks as often as it is due."""
        if not self.annealed_masks:
            return self.joining

        def looking(block: int, maps: Tensor, queries: Tensor) -> Looking:
            said = self._predicted(maps, queries)
            chance = mask_probability(moment.progress, block, self.blocks)
            return Looking(seen_patches(said, (maps.shape[-2], maps.shape[-1]), moment.keys, chance), said)

        return self.joining._replace(looking=looking)

    def forward(
        self, pyramid: Sequence[Level], joined: Sequence[Tensor] = (), before: Sequence[Prediction] = ()
    ) -> HeadOutput:
        """Predict from the last level's map and the queries (B, Q, D) after each block.

        In a training with masks `before` is what was predicted before each block; what is after the last one follows.
        """
        if before:
            return OwnMaps.of([*before, self._predicted(pyramid[-1].map, joined[-1])])
        return HeadOutput(*self._predicted(pyramid[-1].map, torch.stack(list(joined))))

    def _predicted(self, maps: Tensor, queries: Tensor) -> Prediction:
        """From (B, D, h, w) maps and (..., B, Q, D) queries."""
        pixels = self.enlarge(channels_normed(self.norm, maps))
        states = self.norm(queries)
        embeddings = self.mask_embedder(states)
        # A card's autocast norms in float32, a processor's in bf16; both factors of a mask have one precision.
        return Prediction(self.class_predictor(states), embeddings, pixels.to(embeddings.dtype))


class Doubling(nn.Module):
    """(B, D, h, w) to (B, D, 2h, 2w): a transposed convolution, GELU, a 3x3 convolution of each channel, norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(width, width, kernel_size=2, stride=2)
        self.smooth = nn.Conv2d(width, width, kernel_size=3, padding=1, groups=width, bias=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, maps: Tensor) -> Tensor:
        """Enlarge."""
        return channels_normed(self.norm, self.smooth(F.gelu(self.up(maps))))


def channels_normed(norm: nn.LayerNorm, maps: Tensor) -> Tensor:
    """`norm` over the channels of every pixel of (B, D, h, w)."""
    normed: Tensor = norm(maps.movedim(1, -1)).movedim(-1, 1)
    return normed
