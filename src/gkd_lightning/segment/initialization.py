"""Start values of the head as mmdetection sets them.

transformers initialises these modules inside its own model classes only (built alone, the level embedding is
uninitialised memory), and otherwise than the code that made the published numbers.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerAttention,
    Mask2FormerPixelDecoder,
    Mask2FormerTransformerModule,
)

from gkd_lightning.segment.lean import DeformableAttention


@torch.no_grad()
def initialize(head: nn.Module) -> None:
    """Set every parameter whose default in torch is not what mmdetection uses.

    Left at torch's defaults are the mask and class predictors, and the embeddings of queries and levels of the
    transformer decoder, N(0, 1). Source: ``init_weights`` of mmdet 3.3.0's ``MSDeformAttnPixelDecoder``,
    ``MultiScaleDeformableAttention`` and ``Mask2FormerHead``.
    """
    for module in head.modules():
        if isinstance(module, Mask2FormerPixelDecoder):
            _pixel_decoder(module)
        elif isinstance(module, Mask2FormerTransformerModule):
            for parameter in module.decoder.layers.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_normal_(parameter)
            for projection in module.input_projections:
                if isinstance(projection, nn.Conv2d):
                    _caffe2_xavier(projection)
    for module in head.modules():  # inside the two above, so after them
        if isinstance(module, DeformableAttention):
            _deformable_attention(module)
        elif isinstance(module, Mask2FormerAttention):
            _packed_attention(module)


def _pixel_decoder(decoder: Mask2FormerPixelDecoder) -> None:
    nn.init.normal_(decoder.level_embed)
    decoder.level_embed.requires_grad_(len(decoder.encoder.layers) > 0)  # only they ask where a pixel lies
    for projection in decoder.input_projections:
        nn.init.xavier_uniform_(projection[0].weight)
        nn.init.zeros_(projection[0].bias)
    for convolution in (*decoder.lateral_convolutions, *decoder.output_convolutions):
        _caffe2_xavier(convolution[0])
    _caffe2_xavier(decoder.mask_projection)
    for parameter in decoder.encoder.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_normal_(parameter)


def _caffe2_xavier(convolution: nn.Conv2d) -> None:
    nn.init.kaiming_uniform_(convolution.weight, a=1)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


def _deformable_attention(attention: DeformableAttention) -> None:
    # Every head starts by looking in its own direction, every further point one pixel further.
    angle = torch.arange(attention.n_heads) * (2 * math.pi / attention.n_heads)
    direction = torch.stack([angle.cos(), angle.sin()], dim=-1)
    direction = direction / direction.abs().amax(dim=-1, keepdim=True)
    distance = torch.arange(1, attention.n_points + 1)[:, None]
    offset = (direction[:, None, None] * distance).expand(-1, attention.n_levels, -1, -1)
    attention.sampling_offsets.bias.copy_(offset.reshape(-1))
    for weight in (attention.sampling_offsets.weight, attention.attention_weights.weight):
        nn.init.zeros_(weight)
    for linear in (attention.value_proj, attention.output_proj):
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
    nn.init.zeros_(attention.attention_weights.bias)


def _packed_attention(attention: Mask2FormerAttention) -> None:
    # mmdetection holds query, key and value projection in one (3D, D) matrix, whose Xavier spread is smaller.
    dim = attention.embed_dim
    for linear in (attention.q_proj, attention.k_proj, attention.v_proj):
        nn.init.normal_(linear.weight, std=math.sqrt(2 / (dim + 3 * dim)))
        nn.init.zeros_(linear.bias)
    nn.init.zeros_(attention.out_proj.bias)
