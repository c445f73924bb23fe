"""Points at which masks are compared: reading a map between its pixels, and where the points come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_STREAM = 0x6D61736B706F696E
"""Keeps the points apart from the augmentation, which starts its generators from the same sample key."""


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of (N, C, H, W) maps at (N, P, 2) points (x, y): (N, C, P).

    The map spans [-1, 1] x [-1, 1]; a pixel's value sits at its centre, outside the map is 0 (as in PointRend
    and mmdetection).
    """
    return F.grid_sample(maps, points[:, None], align_corners=False).squeeze(2)


class PointSource(Protocol):
    """Uniform points in [-1, 1) x [-1, 1) for one step of training."""

    def per_image(self, layers: int, count: int, device: torch.device) -> Tensor:
        """(B, layers, count, 2): the points at which the matcher compares."""
        ...

    def per_mask(self, masks: Sequence[int], layers: int, count: int, device: torch.device) -> Tensor:
        """(sum(masks), layers, count, 2): points of every mask of every image, image after image."""
        ...


class KeyedPoints:
    """Points that depend on each image's sample key only: not on rank, batch size or the other images."""

    def __init__(self, keys: Sequence[int]) -> None:
        self._keys = keys
        self._generators: list[torch.Generator] = []

    def per_image(self, layers: int, count: int, device: torch.device) -> Tensor:
        """See `PointSource.per_image`."""
        return self.per_mask([1] * len(self._keys), layers, count, device)

    def per_mask(self, masks: Sequence[int], layers: int, count: int, device: torch.device) -> Tensor:
        """See `PointSource.per_mask`."""
        if not self._generators:
            self._generators = [torch.Generator(device).manual_seed(key ^ _STREAM) for key in self._keys]
        points = torch.empty(sum(masks), layers, count, 2, device=device)
        for part, generator in zip(points.split(list(masks)), self._generators, strict=True):
            part.uniform_(-1, 1, generator=generator)
        return points


@torch.no_grad()
def uncertain_points(
    masks: Tensor, counts: Sequence[int], source: PointSource, points: int, oversample: float, importance: float
) -> Tensor:
    """Most points where the mask logit is nearest to 0, the others anywhere (PointRend, arXiv 1912.08193).

    Args:
        masks: (M, L, h, w) logits of the matched queries, image after image.
        counts: how many of the M masks belong to each image.
        source: where uniform points come from.
        points: P, points per mask.
        oversample: times P are drawn.
        importance: share of P that is chosen by uncertainty.

    Returns:
        (M, L, P, 2), (x, y) in [-1, 1).
    """
    layers = masks.shape[1]
    drawn = source.per_mask(counts, layers, int(points * oversample), masks.device).flatten(0, 1)
    certainty = sample_points(masks.flatten(0, 1)[:, None], drawn)[:, 0].abs_()
    uncertain = int(points * importance)
    chosen = _smallest(certainty, uncertain)
    undecided = drawn.gather(1, chosen[..., None].expand(-1, -1, 2))
    anywhere = source.per_mask(counts, layers, points - uncertain, masks.device).flatten(0, 1)
    return torch.cat([undecided, anywhere], dim=1).view(len(masks), layers, points, 2)


def _smallest(values: Tensor, count: int) -> Tensor:
    """Places of the `count` smallest values of each row, in no order."""
    if values.device.type == "cpu" and count < values.shape[1]:
        # A third of topk's time, which is a tenth of a whole training step on a CPU.
        return torch.from_numpy(np.argpartition(values.numpy(), count, axis=1)[:, :count])
    return values.topk(count, dim=1, largest=False, sorted=False).indices
