"""The Mask2Former head (arXiv 2112.01527), composed from transformers' pixel decoder and transformer module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Mask2FormerConfig as TransformersConfig

from gkd_lightning.errors import UserError
from gkd_lightning.precision import full_precision
from gkd_lightning.segment.captured import Captured
from gkd_lightning.segment.criterion import Mask2FormerCriterion
from gkd_lightning.segment.decoder import MaskedTransformer
from gkd_lightning.segment.initialization import initialize
from gkd_lightning.segment.levels import levels_of
from gkd_lightning.segment.lowered import call_in, precision_in_force
from gkd_lightning.segment.mask2former import OFFICIAL_HEAD, HeadOutput, Mask2FormerConfig
from gkd_lightning.segment.pixels import PixelDecoder
from gkd_lightning.segment.pyramid import Level
from gkd_lightning.segment.query_head import QueryHead


class Mask2FormerHead(QueryHead):
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
        if config.hidden_dim % 32 or config.hidden_dim % (2 * config.heads):
            raise UserError(
                f"head.hidden_dim: {config.hidden_dim} must be a multiple of 32 (group norm) "
                f"and of twice the {config.heads} heads"
            )
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
        self.criterion = Mask2FormerCriterion(num_classes, config)
        self._captured: Captured | None = None

    @property
    def record(self) -> dict[str, Any]:
        """That of its settings."""
        return self.config.record

    def attach(self, feature_dims: Sequence[int], num_classes: int) -> None:
        """Nothing: this head is made for its maps."""

    @property
    def linkable(self) -> nn.Parameter:
        """What says where a query looks in every layer: DETR's object queries. What it starts from stays its own."""
        own: nn.Parameter = self.transformer.queries_embedder.weight
        return own

    def forward(self, pyramid: Sequence[Level], queries: Tensor | None = None) -> HeadOutput:
        """Predict from four levels of D_i channels, finest first, in the precision in force.

        `queries` (Q, C) stand in for `linkable`.
        """
        device = pyramid[0].map.device
        dtype = precision_in_force(self, device)
        shapes = tuple(level.size for level in pyramid[:0:-1])
        levels = levels_of(shapes, self.config.hidden_dim, device, dtype)
        scales = tuple(level.scale for level in pyramid)

        def passes(*given: Tensor) -> HeadOutput:
            lowered = [Level(each, scale) for each, scale in zip(given, scales, strict=False)]
            hidden, pixels = call_in(dtype, self.pixel_decoder, lowered, levels)
            decoded = call_in(dtype, self.transformer, hidden, pixels, levels, *given[len(scales) :])
            classes = call_in(torch.float32, self.class_predictor, decoded.states.float())  # few, and logits
            return HeadOutput(classes, decoded.embeddings, pixels)

        given = [level.map for level in pyramid] + ([] if queries is None else [queries])
        arguments = [each.to(dtype) for each in given]
        with full_precision(device.type):
            if self._captured is None or not self.training:
                return passes(*arguments)
            learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
            return HeadOutput(*self._captured(passes, arguments, learning, (dtype, scales)))

    def compile_parts(self) -> None:
        """Fuse the layers of both decoders at their first use; on a GPU, start them as two captured graphs in training.

        `torch.compile` goes layer by layer: in one piece it takes minutes, and leaves little more to be fused. No key
        changes.
        """
        self.pixel_decoder.compile_layers()
        self.transformer.compile_layers()
        self._captured = Captured()

    def release_parts(self) -> None:
        """Forget the captured graphs, and with them their memory."""
        self._captured = None
