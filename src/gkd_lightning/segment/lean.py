"""Two parts of transformers' head that waste time, computed leanly; same parameters, same numbers.

Its deformable attention copies every sampled value three times and sums along a strided axis; its 1x1 convolutions have
a backward pass that is slow on a CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention,
)

from gkd_lightning.segment.exporting import is_exporting
from gkd_lightning.segment.levels import Levels
from gkd_lightning.segment.sampling import deformable_samples


class DeformableAttention(Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention):
    """Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159) over maps without padding."""

    def forward(self, hidden: Tensor, position: Tensor, levels: Levels) -> Tensor:
        """Attend from every pixel of every level to a few sampled positions of all levels.

        Args:
            hidden: (B, N, D), the levels' pixels one after the other.
            position: (1 or B, N, D), added to what asks, not to what is given.
            levels: sizes of the maps.

        Returns:
            (B, N, D).
        """
        heads = self.n_heads
        query = hidden + position
        value = self.value_proj(hidden).unflatten(2, (heads, -1))
        both = self.sampling_offsets, self.attention_weights  # of one query, so one product
        looks = F.linear(query, torch.cat([part.weight for part in both]), torch.cat([part.bias for part in both]))
        attended: Tensor = self.output_proj(deformable_samples(value, looks, levels))
        return attended


class PointwiseConvolution(nn.Conv2d):
    """A 1x1 convolution; on a CPU one matrix product, whose backward pass is two to three times faster."""

    @classmethod
    def like(cls, stock: nn.Conv2d) -> PointwiseConvolution:
        """A fresh one of the same size."""
        return cls(stock.in_channels, stock.out_channels, 1, bias=stock.bias is not None)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, h, w) to (B, D, h, w)."""
        if input.device.type != "cpu" or is_exporting():
            return super().forward(input)
        weight = self.weight.flatten(1).expand(len(input), -1, -1)
        pixels = input.flatten(2)
        bias = self.bias
        output = weight @ pixels if bias is None else torch.baddbmm(bias[None, :, None], weight, pixels)
        maps: Tensor = output.unflatten(2, input.shape[2:])
        return maps
