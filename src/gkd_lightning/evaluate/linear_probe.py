"""How much of the labels a straight line reads out of patch tokens: ridge regression in closed form."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate.linear_map import Line, LinearMap


class Readout(Line):
    """A line from patch tokens (D) to classes (K)."""

    def predict(self, tokens: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Class ids ``(B, *size)`` int64 of (B, N, D) patch tokens: scores are enlarged bilinearly before arg max."""
        scores = tokens.double() @ self.weight.to(tokens.device) + self.bias.to(tokens.device)
        maps = scores.transpose(1, 2).unflatten(2, grid).float()
        return F.interpolate(maps, size=size, mode="bilinear", align_corners=False).argmax(dim=1)


def class_shares(labels: Tensor, grid: tuple[int, int], num_classes: int, ignore: int = 255) -> Tensor:
    """Share of a patch's pixels that each class covers: (B, H, W) ids, `ignore` without truth, to (B, N, K) float32.

    Patches are in row-major order of the `grid` (rows, columns); shares sum to that of labelled pixels.
    """
    ids = labels.long()
    ids = torch.where(ids == ignore, num_classes, ids)
    present = F.one_hot(ids, num_classes + 1)[..., :num_classes].permute(0, 3, 1, 2).float()
    return F.adaptive_avg_pool2d(present, grid).flatten(2).transpose(1, 2)


class LinearProbe:
    """`LinearMap` from patch tokens to `class_shares`; a patch counts by the share of its pixels that are labelled."""

    def __init__(self, dim: int, num_classes: int, ridge: float = 1e-3) -> None:
        self.map = LinearMap(dim, num_classes, ridge)

    def add(self, tokens: Tensor, shares: Tensor) -> None:
        """Count (B, N, D) tokens with their (B, N, K) shares."""
        y = shares.flatten(0, 1).double()  # the weight times the distribution
        self.map.add(tokens.flatten(0, 1), y, y.sum(1, keepdim=True))

    def solve(self) -> Readout:
        """The best read-out of what was counted.

        Raises:
            UserError: nothing was labelled.
        """
        if self.map.count <= 0:
            raise UserError("linear probe: none of its training images has a labelled pixel")
        return Readout(*self.map.solve())
