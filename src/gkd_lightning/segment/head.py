"""The Mask2Former head (arXiv 2112.01527), composed from transformers' pixel decoder and transformer module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import Mask2FormerConfig as TransformersConfig

from gkd_lightning.errors import UserError
from gkd_lightning.segment.decoder import MaskedTransformer
from gkd_lightning.segment.initialization import initialize
from gkd_lightning.segment.levels import levels_of
from gkd_lightning.segment.lowered import call_in, precision_in_force
from gkd_lightning.segment.pixels import PixelDecoder
from gkd_lightning.segment.pyramid import Level


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
    """What the head says after each of L layers: the learned queries first, then every decoder layer.

    Masks are kept as the two factors of their logits: most are wanted without a gradient, or not at all.
    """

    classes: Tensor
    """(L, B, Q, K + 1) logits; the last class is `no object`."""
    embeddings: Tensor
    """(L, B, Q, C), what each query looks for in a pixel."""
    pixels: Tensor
    """(B, C, h, w), what there is in each pixel of the finest map."""

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

        Args:
            image: (M,) int64, ascending.
            queries: (M, L) int64, one query in each layer.
            counts: how many of the M belong to each image.
        """
        layers, batch, number, _ = self.embeddings.shape
        layer = torch.arange(layers, device=queries.device)
        rows = (layer * batch + image[:, None]) * number + queries
        chosen = self.embeddings.flatten(0, 2).index_select(0, rows.flatten()).split([n * layers for n in counts])
        pixels = self.pixels.flatten(2).unbind()
        masks = torch.cat([own @ found for own, found in zip(chosen, pixels, strict=True)])
        return masks.view(-1, layers, *self.pixels.shape[2:])


class Mask2FormerHead(nn.Module):
    """A pyramid of stride 4, 8, 16, 32 in, class and mask logits of every query after every layer out.

    Args:
        feature_dims: channels of the four levels.
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
        self.pixel_decoder = PixelDecoder(plan, list(feature_dims))
        self.transformer = MaskedTransformer(in_features=config.hidden_dim, config=plan)
        self.class_predictor = nn.Linear(config.hidden_dim, num_classes + 1)
        self.pixel_decoder.replace_parts(config.sampled_points)  # last: its random numbers come after the others
        initialize(self)

    def forward(self, pyramid: Sequence[Level]) -> HeadOutput:
        """Predict from four levels of D_i channels, finest first, in the precision in force."""
        device = pyramid[0].map.device
        dtype = precision_in_force(self, device)
        shapes = tuple(level.size for level in pyramid[:0:-1])
        levels = levels_of(shapes, self.config.hidden_dim, device, dtype)
        pyramid = [level._replace(map=level.map.to(dtype)) for level in pyramid]
        with torch.autocast(device.type, enabled=False):
            hidden, pixels = call_in(dtype, self.pixel_decoder, pyramid, levels)
            decoded = call_in(dtype, self.transformer, hidden, pixels, levels)
            classes = call_in(torch.float32, self.class_predictor, decoded.states.float())  # few, and logits
        return HeadOutput(classes, decoded.embeddings, pixels)

    def compile_parts(self) -> None:
        """Let `torch.compile` fuse the layers of both decoders at their first use; no key changes.

        Layer by layer: in one piece the compilation takes minutes, and leaves little more to be fused.
        """
        self.pixel_decoder.compile_layers()
        self.transformer.compile_layers()


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
