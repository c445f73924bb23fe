"""Encoder, pyramid and head together: from images to class scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gkd_lightning.encoders import Encoder, Frozen, LinkedQueries, Tokens, refining_tokens
from gkd_lightning.errors import UserError
from gkd_lightning.precision import full_precision
from gkd_lightning.segment.head_choice import build_head
from gkd_lightning.segment.joined_encoder import joinable
from gkd_lightning.segment.linking import link_between
from gkd_lightning.segment.pyramid import SCALES, Level, default_blocks, feature_pyramid, resized
from gkd_lightning.segment.segmentation_head import HeadSettings, Moment, SegmentationHead
from gkd_lightning.segment.sliding import sliding_scores

SCORE_VALUES_AT_ONCE = 2**28
"""What a head makes of all pixels of one forward pass: 1 GiB, ten windows of the official size and head."""


class StudentPass(NamedTuple):
    """Encoder and head on one batch."""

    tokens: Tokens
    maps: tuple[Tensor, ...]
    """Raw outputs (B, D, h, w) of further blocks."""
    output: Any
    """The head's."""
    size: tuple[int, int]
    """(height, width) of the pyramid's finest level, at which class scores are compared."""


class Segmenter(nn.Module):
    """A segmentation model that is ready to use.

    Args:
        encoder: teacher or student, frozen or not.
        head: made for this encoder's maps, see `for_encoder`.
        blocks: the four blocks whose outputs form the pyramid; a hierarchical encoder uses its own stages.
        window: side in pixels of the sliding window; images that are not larger are seen whole.
        stride: pixels from one window to the next.
        scales: of the pyramid, finest level first, see `pyramid.SCALES`; unused by a hierarchical encoder.
        link: makes the head's queries of the encoder's tokens; None leaves the head its own.
    """

    def __init__(
        self,
        encoder: Encoder | Frozen[Encoder],
        head: SegmentationHead,
        blocks: Sequence[int],
        window: int = 512,
        stride: int = 341,
        scales: Sequence[float] = SCALES,
        link: LinkedQueries | None = None,
    ) -> None:
        super().__init__()
        if not 0 < stride <= window:
            raise UserError(f"stride: {stride} must lie between 1 and the window's {window} pixels to miss none")
        if len(scales) != 4 or list(scales) != sorted(scales, reverse=True) or min(scales) <= 0:
            raise UserError(f"scales: {list(scales)} must be four positive factors, the largest first")
        self.encoder = encoder
        self.head = head
        self.blocks = list(blocks)
        self.window = window
        self.stride = stride
        self.scales = list(scales)
        self.link = link

    @classmethod
    def for_encoder(
        cls,
        encoder: Encoder | Frozen[Encoder],
        num_classes: int,
        head: HeadSettings,
        blocks: Sequence[int] | None = None,
        window: int = 512,
        stride: int = 341,
        scales: Sequence[float] = SCALES,
    ) -> Segmenter:
        """A segmenter with a fresh head; `blocks` defaults to the official choice for the encoder's depth."""
        bare = unfrozen(encoder)
        chosen: list[int] = []
        dims = bare.feature_dims
        if not bare.hierarchical:
            chosen = list(blocks) if blocks is not None else default_blocks(bare.depth)
            if len(chosen) != 4 or not all(0 <= block < bare.depth for block in chosen):
                raise UserError(f"blocks: {chosen} must be four of the encoder's blocks 0 to {bare.depth - 1}")
            dims = [dims[block] for block in chosen]
        made = build_head(head, dims, num_classes)
        network = joinable(encoder, made.joining, chosen)
        return cls(network, made, chosen, window, stride, scales, link_between(bare, made))

    def pyramid(self, maps: Sequence[Tensor]) -> list[Level]:
        """Levels of stride 4, 8, 16 and 32 from what the encoder gave for `blocks`."""
        scales = [1.0] * len(maps) if unfrozen(self.encoder).hierarchical else self.scales
        return feature_pyramid(maps, scales)

    def forward(self, images: Tensor) -> Any:
        """The head's output for (B, 3, H, W) images that fit the encoder."""
        return self.passed(images).output

    def passed(self, images: Tensor, further: Sequence[int] = (), moment: Moment | None = None) -> StudentPass:
        """Encoder and head on (B, 3, H, W) images that fit the encoder.

        Args:
            images: uint8, or in [0, 1].
            further: blocks whose maps are wanted.
            moment: of the training step that this is; None in use.
        """
        joining = self.head.joining if moment is None else self.head.joining_at(moment)
        joined = {} if joining is None else {"joining": joining}
        tokens, maps = self.encoder(images, [*self.blocks, *further], **joined)
        own = len(maps) - len(further)
        pyramid = self.pyramid(maps[:own])
        queries = self.linked_queries()
        linked = {} if queries is None else {"queries": queries}
        told = [tokens.told] if tokens.told else []
        output = self.head(pyramid, **linked) if joining is None else self.head(pyramid, tokens.joined, *told)
        return StudentPass(tokens, tuple(maps[own:]), output, pyramid[0].size)

    def linked_queries(self) -> Tensor | None:
        """(Q, C) queries that are made of the encoder's tokens, in full precision; None if the head has its own."""
        if self.link is None:
            return None
        tokens = refining_tokens(unfrozen(self.encoder))
        with full_precision(tokens.device.type):
            queries: Tensor = self.link(tokens.float())
        return queries

    @torch.no_grad()
    def keep_queries(self) -> None:
        """Write linked queries over the head's own, which then says the same without a link."""
        queries, own = self.linked_queries(), self.head.linkable
        if queries is not None and own is not None:
            own.copy_(queries)

    def scores(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Class scores (B, K, H, W) float32 of (B, 3, H, W) images of any size, uint8 or in [0, 1].

        What they mean: `SegmentationHead.scores`. They are brought to `size` (height, width) if it is given.
        """
        pixels = min(self.window, images.shape[-2]) * min(self.window, images.shape[-1])
        batch = max(1, SCORE_VALUES_AT_ONCE // (self.head.values_per_pixel * pixels))
        found = sliding_scores(images, self.window_scores, self.window, self.stride, batch)
        return found if size is None else resized(found, size)

    def predict(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Class ids ``(B, *size)`` int64: scores are brought to `size` (height, width) before the arg max."""
        return best_classes(self.scores(images, size))

    def fitting_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """What a window of `size` (height, width) is enlarged to, to fit encoder and pyramid.

        The official code stops at windows that are no multiple of the patch; here they are enlarged a little: to whole
        patches, and to as many as the coarsest level needs.
        """
        encoder = unfrozen(self.encoder)
        if encoder.fixed_size:
            return encoder.image_size
        if encoder.hierarchical:
            return size
        least = math.ceil(1 / self.scales[-1])
        height, width = (max(least, math.ceil(side / encoder.patch_size)) * encoder.patch_size for side in size)
        return (height, width)

    def window_scores(self, crops: Tensor) -> Tensor:
        """Class scores (B, K, H, W) float32 of one window of each image, (B, 3, H, W), in one pass."""
        return self.head.scores(self.output(crops), (crops.shape[-2], crops.shape[-1]))

    def output(self, crops: Tensor) -> Any:
        """The head's output for (B, 3, H, W) images of any size, enlarged where they do not fit."""
        size = (crops.shape[-2], crops.shape[-1])
        fitting = self.fitting_size(size)
        if fitting != size:
            crops = crops / 255 if crops.dtype == torch.uint8 else crops
            crops = F.interpolate(crops, size=fitting, mode="bilinear", align_corners=False)
        return self(crops)


def best_classes(scores: Tensor) -> Tensor:
    """Class ids (B, H, W) int64 of class scores (B, K, H, W); the first of equals."""
    return scores.max(1).indices  # on a processor in a third of the time of argmax


def unfrozen(encoder: Encoder | Frozen[Encoder]) -> Encoder:
    """The encoder inside the wrapper, if there is one."""
    return encoder.module if isinstance(encoder, Frozen) else encoder
