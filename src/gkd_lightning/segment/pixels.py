"""transformers' pixel decoder with the same parameters and numbers, for maps without padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    Mask2FormerPixelDecoderEncoderLayer,
)

from gkd_lightning.segment.lean import DeformableAttention, PointwiseConvolution
from gkd_lightning.segment.levels import Levels
from gkd_lightning.segment.pyramid import Level, resized


def _layer(layer: Mask2FormerPixelDecoderEncoderLayer, hidden: Tensor, position: Tensor, levels: Levels) -> Tensor:
    """(B, N, D) pixels through one layer."""
    hidden = layer.self_attn_layer_norm(hidden + layer.self_attn(hidden, position, levels))
    normalized: Tensor = layer.final_layer_norm(hidden + layer.fc2(layer.activation_fn(layer.fc1(hidden))))
    return normalized


class PixelDecoder(Mask2FormerPixelDecoder):
    """Deformable attention among the three coarser maps, and a fine map that takes up what they have found.

    Its parent builds padding masks, valid ratios and reference points anew in every pass, copies the maps' sizes to
    the device and asks it after every layer whether all values are finite, for which the host waits; here none of
    that is needed.
    """

    _layer_call = staticmethod(_layer)

    def compile_layers(self) -> None:
        """Let `torch.compile` fuse what a layer does between its products; all layers share the compilation."""
        self._layer_call = torch.compile(_layer)

    def replace_parts(self, sampled_points: int) -> None:
        """Put in the lean parts, with fresh parameters; `sampled_points` is one head's number on each level."""
        config = self.config
        for layer in self.encoder.layers:
            levels = layer.self_attn.n_levels
            layer.self_attn = DeformableAttention(
                config.feature_size, config.num_attention_heads, levels, sampled_points
            )
        for parent in (*self.input_projections, *self.lateral_convolutions):
            parent[0] = PointwiseConvolution.like(parent[0])
        self.mask_projection = PointwiseConvolution.like(self.get_submodule("mask_projection"))

    def forward(self, pyramid: Sequence[Level], levels: Levels) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            pyramid: four levels of D_i channels, finest first.
            levels: sizes of the three coarser ones.

        Returns:
            (B, N, D), the pixels of the three coarser levels, and the features (B, C, h, w) of the finest map.
        """
        inputs = []
        for level, (projection, norm) in zip(pyramid[:0:-1], self.input_projections, strict=True):
            inputs.append(norm(level.projected(projection)).flatten(2).transpose(1, 2))
        parts = levels.positions.split(levels.sizes, dim=1)
        position = torch.cat([part + own for part, own in zip(parts, self.level_embed, strict=True)], dim=1)
        hidden = torch.cat(inputs, dim=1)
        for layer in self.encoder.layers:
            hidden = self._layer_call(layer, hidden, position, levels)
        projection, norm = self.lateral_convolutions[0]
        fine = norm(pyramid[0].projected(projection))
        last = hidden.split(levels.sizes, dim=1)[-1].transpose(1, 2).unflatten(2, levels.shapes[-1])
        fine = fine + resized(last, (fine.shape[-2], fine.shape[-1]))
        return hidden, self.mask_projection(self.output_convolutions[0](fine))
