"""transformers' own Mask2Former around an encoder of ours, and its parts one by one in place of our head's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import Mask2FormerConfig as TransformersConfig
from transformers import Mask2FormerForUniversalSegmentation, SwinConfig
from transformers.models.mask2former import modeling_mask2former as stock

from gkd_lightning.segment.decoder import Decoded
from gkd_lightning.segment.head import Mask2FormerHead
from gkd_lightning.segment.levels import Levels
from gkd_lightning.segment.mask2former import Mask2FormerConfig
from gkd_lightning.segment.pyramid import Level
from gkd_lightning.segment.segmenter import Segmenter


class Maps(NamedTuple):
    """What transformers expects of a backbone."""

    feature_maps: tuple[Tensor, ...]


class Backbone(nn.Module):
    """A frozen encoder and its pyramid in a backbone's place."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.encoder, self.pyramid, self.blocks = segmenter.encoder, segmenter.pyramid, segmenter.blocks

    def forward(self, images: Tensor) -> Maps:
        """(B, 3, H, W) images to maps of stride 4 to 32."""
        _, maps = self.encoder(images, self.blocks)
        return Maps(tuple(level.enlarged().float() for level in self.pyramid(maps)))


def stock_config(config: Mask2FormerConfig, num_classes: int) -> TransformersConfig:
    """Sizes and loss weights of a head of ours; the backbone in it is as small as can be, it makes way for another."""
    return TransformersConfig(
        backbone_config=SwinConfig(
            embed_dim=12, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1],
            out_features=["stage1", "stage2", "stage3", "stage4"],
        ),
        num_labels=num_classes,
        feature_size=config.hidden_dim, mask_feature_size=config.hidden_dim, hidden_dim=config.hidden_dim,
        encoder_layers=config.encoder_layers, decoder_layers=config.decoder_layers + 1,
        num_attention_heads=config.heads, encoder_feedforward_dim=config.encoder_ffn,
        dim_feedforward=config.decoder_ffn, num_queries=config.queries, dropout=0.0,
        no_object_weight=config.no_object_weight, class_weight=config.class_weight,
        mask_weight=config.mask_weight, dice_weight=config.dice_weight, train_num_points=config.points,
        oversample_ratio=config.oversample, importance_sample_ratio=config.importance,
    )  # fmt: skip


def mask2former(segmenter: Segmenter) -> Mask2FormerHead:
    """The segmenter's head, which has to be one of these."""
    assert isinstance(segmenter.head, Mask2FormerHead)
    return segmenter.head


def stock_model(segmenter: Segmenter) -> Mask2FormerForUniversalSegmentation:
    """transformers' model with a segmenter's encoder, sizes and weights (four sampled points: it knows no other)."""
    head = mask2former(segmenter)
    model = Mask2FormerForUniversalSegmentation(stock_config(head.config, head.num_classes))
    module = model.model.pixel_level_module
    module.encoder = Backbone(segmenter)
    module.decoder = StockPixelDecoder(head).decoder
    model.model.transformer_module = StockTransformer(head).module
    model.class_predictor.load_state_dict(head.class_predictor.state_dict())
    return model.train()


def stock_labels(label: Tensor, num_classes: int) -> tuple[list[Tensor], list[Tensor]]:
    """Masks (m, H, W) float32 and classes (m,) of each of (B, H, W) label maps, as its image processor makes them."""
    classes = [image.unique()[image.unique() < num_classes].long() for image in label]
    masks = [(image == own[:, None, None]).float() for image, own in zip(label, classes, strict=True)]
    return masks, classes


class StockPixelDecoder(nn.Module):
    """transformers' pixel decoder with the weights and the interface of ours."""

    def __init__(self, head: Mask2FormerHead) -> None:
        super().__init__()
        plan = stock_config(head.config, head.num_classes)
        self.decoder = stock.Mask2FormerPixelDecoder(plan, feature_channels=list(head.pixel_decoder.feature_channels))
        self.decoder.load_state_dict(head.pixel_decoder.state_dict())

    def forward(self, pyramid: Sequence[Level], levels: Levels) -> tuple[Tensor, Tensor]:
        """See `PixelDecoder.forward`."""
        found = self.decoder([level.enlarged() for level in pyramid])
        pixels = [level.flatten(2).transpose(1, 2) for level in found.multi_scale_features]
        return torch.cat(pixels, dim=1), found.mask_features


class StockTransformer(nn.Module):
    """transformers' masked-attention decoder with the weights and the interface of ours."""

    def __init__(self, head: Mask2FormerHead) -> None:
        super().__init__()
        plan = stock_config(head.config, head.num_classes)
        self.module = stock.Mask2FormerTransformerModule(head.config.hidden_dim, plan)
        self.module.load_state_dict(head.transformer.state_dict())

    def forward(self, hidden: Tensor, pixels: Tensor, levels: Levels) -> Decoded:
        """See `MaskedTransformer.forward`; that its masks come with a gradient is another lever's row."""
        parts = zip(hidden.split(levels.sizes, dim=1), levels.shapes, strict=True)
        found = self.module([part.transpose(1, 2).unflatten(2, shape) for part, shape in parts], pixels)
        states = torch.stack(found.intermediate_hidden_states).transpose(1, 2)
        return Decoded(states, self.module.decoder.mask_predictor.mask_embedder(states))


class StockAttention(nn.Module):
    """transformers' deformable attention with the weights and the interface of ours."""

    def __init__(self, ours: Any) -> None:
        super().__init__()
        self.attention = stock.Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention(
            ours.d_model, ours.n_heads, ours.n_levels, ours.n_points
        )
        self.attention.load_state_dict(ours.state_dict())

    def forward(self, hidden: Tensor, position: Tensor, levels: Levels) -> Tensor:
        """See `DeformableAttention.forward`."""
        shapes = list(levels.shapes)
        ratios = hidden.new_ones(1, len(shapes), 2)
        points = stock.Mask2FormerPixelDecoderEncoderOnly.get_reference_points(shapes, ratios, hidden.device)
        attended: Tensor = self.attention(
            hidden,
            encoder_hidden_states=hidden,
            position_embeddings=position,
            reference_points=points.to(hidden.dtype),
            spatial_shapes_list=shapes,
        )[0]
        return attended
