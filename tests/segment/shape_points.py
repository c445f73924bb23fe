"""Random points that depend on the shape asked for only, so that two implementations can be given the same ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gkd_lightning.segment.mask2former import HeadOutput, Mask2FormerConfig
from gkd_lightning.segment.matcher import match
from gkd_lightning.segment.targets import semantic_targets


def rand_by_shape(*shape: int, device: object = None) -> Tensor:
    """A stand-in for `torch.rand` (the rule of golden fixture h)."""
    seed = sum(value * 31**i for i, value in enumerate(shape)) % 100003
    return torch.empty(shape).uniform_(generator=torch.Generator().manual_seed(seed))


class ShapePoints:
    """What mmdetection and transformers would draw with `rand_by_shape`.

    They list an image's masks by ascending query, layer by layer; here a mask keeps its place in all layers, so
    the points are dealt out by the rank of its query.
    """

    def __init__(self, output: HeadOutput, label: Tensor, config: Mask2FormerConfig) -> None:
        self.images = len(label)
        classes = output.classes.shape[-1] - 1
        matching = match(output, semantic_targets(label, classes), self, config)
        order = matching.image[:, None] * output.classes.shape[2] + matching.query
        self.rank = order.argsort(dim=0).argsort(dim=0)

    def per_image(self, layers: int, count: int, device: torch.device) -> Tensor:
        return (rand_by_shape(1, count, 2) * 2 - 1).expand(self.images, layers, count, 2)

    def per_mask(self, masks: Sequence[int], layers: int, count: int, device: torch.device) -> Tensor:
        return (rand_by_shape(sum(masks), count, 2) * 2 - 1)[self.rank]
