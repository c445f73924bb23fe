"""How much of the labels a straight line reads out of patch tokens: ridge regression in closed form."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gkd_lightning.errors import UserError


class Readout(NamedTuple):
    """A fitted linear map."""

    weight: Tensor
    """(D, K) float64."""
    bias: Tensor
    """(K,) float64."""

    def predict(self, tokens: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Class ids (B, *size) int64 of (B, N, D) patch tokens: scores are enlarged bilinearly before the arg max."""
        scores = tokens.double() @ self.weight.to(tokens.device) + self.bias.to(tokens.device)
        maps = scores.transpose(1, 2).unflatten(2, grid).float()
        return F.interpolate(maps, size=size, mode="bilinear", align_corners=False).argmax(dim=1)


def class_shares(labels: Tensor, grid: tuple[int, int], num_classes: int, ignore: int = 255) -> Tensor:
    """Share of a patch's pixels that each class covers.

    Args:
        labels: (B, H, W) class ids; `ignore` marks pixels without truth.
        grid: patches, (rows, columns).
        num_classes: K.
        ignore: see `labels`.

    Returns:
        (B, N, K) float32, rows in row-major order of the patches; they sum to the share of labelled pixels.
    """
    ids = labels.long()
    ids = torch.where(ids == ignore, num_classes, ids)
    present = F.one_hot(ids, num_classes + 1)[..., :num_classes].permute(0, 3, 1, 2).float()
    return F.adaptive_avg_pool2d(present, grid).flatten(2).transpose(1, 2)


class LinearProbe:
    """Least squares from patch tokens to `class_shares`, in float64, from sums over batches: no iteration, no draw.

    A patch counts by the share of its pixels that are labelled. Tokens are standardised channel by channel, and the
    penalty is `ridge` times the squared weights of the standardised problem, averaged over patches.

    Args:
        dim: D.
        num_classes: K.
        ridge: see above.
    """

    def __init__(self, dim: int, num_classes: int, ridge: float = 1e-3) -> None:
        if ridge <= 0:
            raise UserError(f"ridge: {ridge} must be above 0, or a constant channel has no answer")
        self.ridge = ridge
        self.moments = torch.zeros(dim + 1, dim + 1, dtype=torch.float64)
        """Weighted sums of x x^T with a 1 appended to x."""
        self.products = torch.zeros(dim + 1, num_classes, dtype=torch.float64)
        """Weighted sums of x y^T."""

    def add(self, tokens: Tensor, shares: Tensor) -> None:
        """Count (B, N, D) tokens with their (B, N, K) shares."""
        x = F.pad(tokens.flatten(0, 1).double(), (0, 1), value=1.0)
        y = shares.flatten(0, 1).double()
        weight = y.sum(1, keepdim=True)
        self.moments += (x.T @ (x * weight)).cpu()
        self.products += (x.T @ y).cpu()  # y is the weight times the distribution

    def solve(self) -> Readout:
        """The best read-out of what was counted.

        Raises:
            UserError: nothing was labelled.
        """
        count = self.moments[-1, -1]
        if count <= 0:
            raise UserError("linear probe: none of its training images has a labelled pixel")
        mean_x, mean_y = self.moments[-1, :-1] / count, self.products[-1] / count
        covariance = self.moments[:-1, :-1] / count - torch.outer(mean_x, mean_x)
        deviation = covariance.diagonal().clamp_min(1e-12).sqrt()
        cross = (self.products[:-1] / count - torch.outer(mean_x, mean_y)) / deviation[:, None]
        correlation = covariance / torch.outer(deviation, deviation)
        penalty = self.ridge * torch.eye(len(mean_x), dtype=torch.float64)
        weight = torch.linalg.solve(correlation + penalty, cross) / deviation[:, None]
        return Readout(weight, mean_y - mean_x @ weight)
