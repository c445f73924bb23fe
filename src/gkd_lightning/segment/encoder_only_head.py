"""Queries in the encoder's last blocks, which do what a decoder would (EoMT, arXiv 2503.19108)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gkd_lightning.encoders import Joining
from gkd_lightning.ranges import Count, Natural
from gkd_lightning.segment.criterion import Mask2FormerCriterion
from gkd_lightning.segment.mask2former import HeadOutput, Mask2FormerConfig
from gkd_lightning.segment.pyramid import Level
from gkd_lightning.segment.query_head import QueryHead


class EncoderOnlyHead(QueryHead):
    """Learned queries go through the encoder's last blocks with the image's tokens, then say class and mask.

    A mask is the product of what a query has become, through three layers, with the enlarged map of the last block; its
    class is a linear map of it. The losses are Mask2Former's, after each of the blocks. The paper trains the encoder
    with it; where that is frozen, the queries learn through it.

    Other than in the paper, masks never limit what a query attends to: there it is so once the annealing is over.
    Queries are judged after every block against the last map, and both have a norm of the head's own in the place of
    the encoder's final one.

    Args:
        queries: number of (mask, class) predictions; at least the number of classes of an image.
        blocks: of the encoder, its last ones, that the queries go through; published: 4 of 24.
        doublings: how often the side of the last block's map is doubled: 2 make stride 4 of patches of 16 pixels.
        points: per mask at which masks are compared, as in Mask2Former.
    """

    def __init__(self, queries: Count = 100, blocks: Count = 4, doublings: Natural = 2, points: Count = 12544) -> None:
        super().__init__()
        self.config = Mask2FormerConfig(queries=queries, points=points)
        self.blocks, self.doublings = blocks, doublings

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

    def forward(self, pyramid: Sequence[Level], joined: Sequence[Tensor] = ()) -> HeadOutput:
        """Predict from the last level's map and the queries (B, Q, D) after each block."""
        pixels = self.enlarge(channels_normed(self.norm, pyramid[-1].map))
        states = self.norm(torch.stack(list(joined)))
        embeddings = self.mask_embedder(states)
        # A card's autocast norms in float32, a processor's in bf16; both factors of a mask have one precision.
        return HeadOutput(self.class_predictor(states), embeddings, pixels.to(embeddings.dtype))


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
