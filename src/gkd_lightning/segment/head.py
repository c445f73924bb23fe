"""The Mask2Former head (arXiv 2112.01527), composed from transformers' pixel decoder and transformer module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import Mask2FormerConfig as TransformersConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    Mask2FormerTransformerModule,
)

from gkd_lightning.errors import UserError
from gkd_lightning.segment.initialization import initialize
from gkd_lightning.segment.lean import DeformableAttention, PointwiseConvolution, SinePositions


@dataclass(frozen=True)
class Mask2FormerConfig:
    """Size and loss of the head; the defaults are the official ones (``dinov2_mask2former.py``).

    Attributes:
        hidden_dim: width of pixel decoder, queries and mask features; a multiple of 32 (group norm) and of `heads`.
        encoder_layers: deformable attention layers of the pixel decoder.
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
    """

    hidden_dim: int = 256
    encoder_layers: int = 6
    decoder_layers: int = 9
    heads: int = 8
    sampled_points: int = 4
    encoder_ffn: int = 1024
    decoder_ffn: int = 2048
    queries: int = 100
    points: int = 12544
    oversample: float = 3.0
    importance: float = 0.75
    no_object_weight: float = 0.1
    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0


OFFICIAL_HEAD = Mask2FormerConfig()


class HeadOutput(NamedTuple):
    """What the head says after each of L layers: the learned queries first, then every decoder layer."""

    classes: Tensor
    """(L, B, Q, K + 1) logits; the last class is `no object`."""
    masks: tuple[Tensor, ...]
    """L times (B, Q, h, w) logits at the stride of the finest map."""


class Mask2FormerHead(nn.Module):
    """Maps of stride 4, 8, 16, 32 in, class and mask logits of every query after every layer out.

    Args:
        feature_dims: channels of the four maps.
        num_classes: K, without `no object`.
        config: size of the head.
    """

    def __init__(
        self, feature_dims: Sequence[int], num_classes: int, config: Mask2FormerConfig = OFFICIAL_HEAD
    ) -> None:
        super().__init__()
        if len(feature_dims) != 4:
            raise UserError(f"the head needs four feature maps (stride 4, 8, 16, 32), the encoder gives {feature_dims}")
        _check(config)
        self.config = config
        self.num_classes = num_classes
        plan = TransformersConfig(
            feature_size=config.hidden_dim,
            mask_feature_size=config.hidden_dim,
            hidden_dim=config.hidden_dim,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers + 1,  # transformers counts the prediction from bare queries
            num_attention_heads=config.heads,
            encoder_feedforward_dim=config.encoder_ffn,
            dim_feedforward=config.decoder_ffn,
            num_queries=config.queries,
            dropout=0.0,
        )
        self.pixel_decoder = Mask2FormerPixelDecoder(plan, feature_channels=list(feature_dims))
        self.transformer = Mask2FormerTransformerModule(config.hidden_dim, plan)
        self.class_predictor = nn.Linear(config.hidden_dim, num_classes + 1)
        self._replace_wasteful_parts()
        initialize(self)
        self.pixel_decoder.eval()  # Lightning never calls train() on a module that starts in training mode

    def _replace_wasteful_parts(self) -> None:
        config, decoder = self.config, self.pixel_decoder
        for layer in decoder.encoder.layers:
            levels = layer.self_attn.n_levels
            layer.self_attn = DeformableAttention(config.hidden_dim, config.heads, levels, config.sampled_points)
        decoder.position_embedding = SinePositions(config.hidden_dim // 2, normalize=True)
        self.transformer.position_embedder = SinePositions(config.hidden_dim // 2, normalize=True)
        projections = [*decoder.input_projections, *decoder.lateral_convolutions]
        for parent, name in [*((projection, "0") for projection in projections), (decoder, "mask_projection")]:
            stock = parent.get_submodule(name)
            lean = PointwiseConvolution(stock.in_channels, stock.out_channels, 1, bias=stock.bias is not None)
            parent.set_submodule(name, lean)

    def train(self, mode: bool = True) -> Mask2FormerHead:
        """Leave the pixel decoder in eval mode: it has no dropout and no batch norm.

        In training mode transformers' layers would ask the device after every layer whether all values are
        finite, and wait for the answer.
        """
        super().train(mode)
        self.pixel_decoder.eval()
        return self

    def forward(self, pyramid: Sequence[Tensor]) -> HeadOutput:
        """Predict from (B, D_i, h_i, w_i) maps, finest first."""
        features = [level.float() for level in pyramid]
        pixels = self.pixel_decoder(features)
        decoded = self.transformer(pixels.multi_scale_features, pixels.mask_features)
        queries = torch.stack(decoded.intermediate_hidden_states)  # (L, Q, B, D)
        return HeadOutput(self.class_predictor(queries.transpose(1, 2)), decoded.masks_queries_logits)


def _check(config: Mask2FormerConfig) -> None:
    if config.hidden_dim % 32 or config.hidden_dim % (2 * config.heads):
        raise UserError(
            f"head.hidden_dim: {config.hidden_dim} must be a multiple of 32 (group norm) "
            f"and of twice the {config.heads} heads"
        )
    for name in ("encoder_layers", "decoder_layers", "sampled_points", "queries", "points"):
        if getattr(config, name) < 1:
            raise UserError(f"head.{name}: {getattr(config, name)} must be at least 1")
    if config.oversample < 1 or not 0 <= config.importance <= 1:
        raise UserError("head.oversample must be at least 1 and head.importance between 0 and 1")
