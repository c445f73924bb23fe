"""transformers' pixel decoder with the same parameters and numbers, for maps without padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoder

from gkd_lightning.segment.lean import DeformableAttention, PointwiseConvolution, SinePositions


class PixelDecoder(Mask2FormerPixelDecoder):
    """Deformable attention among the three coarser maps, and a fine map that takes up what they have found.

    Its parent builds padding masks, valid ratios and reference points anew in every pass, and copies the maps' sizes
    to the device, for which the host waits; here none of that is needed.
    """

    def replace_parts(self, sampled_points: int) -> None:
        """Put in the lean parts, with fresh parameters; `sampled_points` is one head's number on each level."""
        config = self.config
        for layer in self.encoder.layers:
            levels = layer.self_attn.n_levels
            layer.self_attn = DeformableAttention(
                config.feature_size, config.num_attention_heads, levels, sampled_points
            )
        self.position_embedding = SinePositions(config.feature_size // 2, normalize=True)
        for parent in (*self.input_projections, *self.lateral_convolutions):
            parent[0] = PointwiseConvolution.like(parent[0])
        self.mask_projection = PointwiseConvolution.like(self.get_submodule("mask_projection"))

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Decode (B, D_i, h_i, w_i) maps of stride 4, 8, 16 and 32, finest first.

        Returns:
            Three (B, D, h_i, w_i) maps, coarsest first, and the features (B, C, h, w) of the finest map.
        """
        levels = features[: -self.num_feature_levels - 1 : -1]
        shapes = [(level.shape[2], level.shape[3]) for level in levels]
        inputs, positions = [], []
        for index, level in enumerate(levels):
            position = self.position_embedding(level.shape, level.device, level.dtype)
            inputs.append(self.input_projections[index](level).flatten(2).transpose(1, 2))
            positions.append(position.flatten(2).transpose(1, 2) + self.level_embed[index])
        hidden, position = torch.cat(inputs, dim=1), torch.cat(positions, dim=1)
        for layer in self.encoder.layers:
            (hidden,) = layer(hidden, None, position_embeddings=position, spatial_shapes_list=shapes)
        parts = hidden.split([height * width for height, width in shapes], dim=1)
        maps = [part.transpose(1, 2).unflatten(2, shape) for part, shape in zip(parts, shapes, strict=True)]
        fine = self.lateral_convolutions[0](features[0])
        fine = fine + F.interpolate(maps[-1], size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return maps, self.mask_projection(self.output_convolutions[0](fine))
