"""The image encoder of Segment Anything as a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gkd_lightning.encoders.encoder import Encoder, blanked
from gkd_lightning.encoders.types import EncoderSpec, Tokens
from gkd_lightning.errors import UserError


class SamEncoder(Encoder):
    """SAM's ViT (arXiv 2304.02643): its tokens are its neck's map, the embedding that SAM's decoder reads.

    It has no class token, so that is the mean of the patches; and none to mask with, so `mask` blanks input patches.
    Positions, absolute and relative ones, are resized in every pass, as SAM does, so that any size of whole patches
    works; the published weights are for 1024.
    """

    def __init__(self, spec: EncoderSpec, model: Any, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(spec, model, mean, std)
        self.embed_dim = model.num_features
        self.depth = len(model.blocks)
        self.patch_size = model.patch_embed.patch_size[0]
        if spec.patch_size not in (None, self.patch_size):
            raise UserError(f"{spec.name}: patch_size is {spec.patch_size}, and SAM's encoder has {self.patch_size}")
        height, width = spec.hw or model.patch_embed.img_size
        self.image_size = (height, width)

    @property
    def feature_dims(self) -> list[int]:
        """Width of the blocks, which the neck narrows."""
        return [self.model.embed_dim] * self.depth

    def forward(
        self, images: torch.Tensor, blocks: Sequence[int] = (), mask: torch.Tensor | None = None
    ) -> tuple[Tokens, list[torch.Tensor]]:
        """See `Encoder.forward`."""
        grid = self.grid((images.shape[-2], images.shape[-1]))
        for block in blocks:
            if not 0 <= block < self.depth:
                raise UserError(f"{self.spec.name} has blocks 0 to {self.depth - 1}, there is no block {block}")
        normalized = self.normalize(images)
        normalized = normalized if mask is None else blanked(normalized, mask, grid)
        wanted = sorted(set(blocks))
        last, maps = self.model.forward_intermediates(normalized, indices=wanted or [self.depth - 1])
        patches = last.flatten(2).transpose(1, 2)
        by_block = dict(zip(wanted, maps, strict=False))
        return Tokens(patches.mean(dim=1), patches, grid), [by_block[block] for block in blocks]
