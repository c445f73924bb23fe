"""Three parts of transformers' head that waste time, computed leanly; same parameters, same numbers.

Measured on a CPU at 96 px: its deformable attention (every sampled value is copied three times and summed along a
strided axis) and its 1x1 convolutions take half of a training step; its sine positions are built anew for every
image of every batch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention,
    Mask2FormerSinePositionEmbedding,
)

from gkd_lightning.segment.sampling import Shapes, weighted_samples


class DeformableAttention(Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention):
    """Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159) over maps without padding.

    Takes the arguments of the class it replaces. Sampling is done in float32 whatever the autocast dtype:
    bfloat16 knows positions in a 64-wide map to a quarter of a pixel only.
    """

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: Tensor,
        encoder_hidden_states: Tensor,
        spatial_shapes_list: list[tuple[int, int]],
        **unused: Any,
    ) -> tuple[Tensor, None]:
        """Attend from every position of every level to a few sampled positions of all levels.

        Args:
            hidden_states: (B, N, D) queries, the levels' pixels one after the other.
            position_embeddings: (1 or B, N, D).
            encoder_hidden_states: (B, N, D) values.
            spatial_shapes_list: (height, width) of each level.
            unused: what the replaced class needs for padded maps.

        Returns:
            (B, N, D), and None for the attention weights.
        """
        batch, count, dim = hidden_states.shape
        heads, levels, points = self.n_heads, self.n_levels, self.n_points
        rows = batch * heads
        query = hidden_states + position_embeddings
        value = self.value_proj(encoder_hidden_states).float()
        logits = self.attention_weights(query).float()
        offset = self.sampling_offsets(query).float().view(batch, count, heads, levels, points, 2)

        # The axis of the queries goes last: softmax, sampling and summing then run along memory.
        value = value.transpose(1, 2).reshape(rows, -1, count)
        weight = logits.transpose(1, 2).reshape(rows, levels * points, count).softmax(1)
        weight = weight.view(rows, levels, points, count)
        centre, pixel = _centre_and_pixel(tuple(spatial_shapes_list), value.device)
        place = torch.addcmul(centre, offset, pixel)
        place = place.permute(3, 0, 2, 4, 1, 5).reshape(levels, rows, points, count, 2)

        output = weighted_samples(value, place, weight, tuple(spatial_shapes_list))
        attended: Tensor = self.output_proj(output.reshape(batch, dim, count).transpose(1, 2))
        return attended, None


class SinePositions(Mask2FormerSinePositionEmbedding):
    """Sine position embedding, (1, D, h, w) float32 for the whole batch instead of one copy per image."""

    def forward(self, shape: torch.Size, device: torch.device, dtype: torch.dtype, mask: None = None) -> Tensor:
        """Embedding of a (B, D, h, w) map; `dtype` is ignored, see `DeformableAttention`."""
        return _sine(shape[-2], shape[-1], self.num_position_features, torch.device(device))


class PointwiseConvolution(nn.Conv2d):
    """A 1x1 convolution; on a CPU one matrix product, whose backward pass is two to three times faster."""

    @classmethod
    def like(cls, stock: nn.Conv2d) -> PointwiseConvolution:
        """A fresh one of the same size."""
        return cls(stock.in_channels, stock.out_channels, 1, bias=stock.bias is not None)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, h, w) to (B, D, h, w)."""
        if input.device.type != "cpu":
            return super().forward(input)
        weight = self.weight.flatten(1).expand(len(input), -1, -1)
        pixels = input.flatten(2)
        bias = self.bias
        output = weight @ pixels if bias is None else torch.baddbmm(bias[None, :, None], weight, pixels)
        maps: Tensor = output.unflatten(2, input.shape[2:])
        return maps


@lru_cache(maxsize=32)
def _sine(height: int, width: int, features: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a validation's inference tensors could not be used in training
        positions = Mask2FormerSinePositionEmbedding(features, normalize=True)
        sine: Tensor = positions(torch.Size((1, 2 * features, height, width)), device, torch.float32)
        return sine.contiguous()


@lru_cache(maxsize=32)
def _centre_and_pixel(shapes: Shapes, device: torch.device) -> tuple[Tensor, Tensor]:
    """Centre of each query pixel (1, N, 1, 1, 1, 2) and a pixel's size (levels, 1, 2), both in [-1, 1] units."""
    with torch.inference_mode(False):
        centres = []
        for height, width in shapes:
            y = (torch.arange(height, device=device) + 0.5) * (2 / height) - 1
            x = (torch.arange(width, device=device) + 0.5) * (2 / width) - 1
            centres.append(torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1))
        pixel = torch.tensor([[2 / width, 2 / height] for height, width in shapes], device=device)
        return torch.cat(centres).view(1, -1, 1, 1, 1, 2), pixel[:, None]
