"""The straight line from one encoder's tokens to another's: ridge regression in closed form, from sums over batches."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gkd_lightning.errors import UserError


class Line(NamedTuple):
    """A fitted affine map."""

    weight: Tensor
    """(p, q) float64."""
    bias: Tensor
    """(q,) float64."""

    def __call__(self, tokens: Tensor) -> Tensor:
        """(…, p) to (…, q) in the tokens' own precision; gradients pass."""
        return tokens @ self.weight.to(tokens) + self.bias.to(tokens)


class LinearMap:
    """Least squares from tokens of width p to targets of width q, in float64, from sums over batches: no iteration.

    Tokens are standardised channel by channel, and the penalty is `ridge` times the squared weights of the standardised
    problem, averaged over tokens. Memory does not grow with their number.
    """

    def __init__(self, p: int, q: int, ridge: float = 1e-3) -> None:
        if ridge <= 0:
            raise UserError(f"ridge: {ridge} must be above 0, or a constant channel has no answer")
        self.ridge = ridge
        self.moments = torch.zeros(p + 1, p + 1, dtype=torch.float64)
        """Weighted sums of x x^T with a 1 appended to x."""
        self.products = torch.zeros(p + 1, q, dtype=torch.float64)
        """Weighted sums of x y^T."""

    @property
    def count(self) -> float:
        """Sum of the weights of what was counted."""
        return float(self.moments[-1, -1])

    def add(self, first: Tensor, second: Tensor, weight: Tensor | None = None) -> None:
        """Count (n, p) tokens, the (n, q) targets that they should become, times their weights, and the weights (n, 1).

        Without `weight` each token counts as one.
        """
        x = F.pad(first.double(), (0, 1), value=1.0)
        self.moments += (x.T @ (x if weight is None else x * weight)).cpu()
        self.products += (x.T @ second.double()).cpu()

    def solve(self) -> Line:
        """The best line through what was counted.

        Raises:
            UserError: nothing was counted.
        """
        count = self.moments[-1, -1]
        if count <= 0:
            raise UserError("linear map: no token to fit it on")
        mean_x, mean_y = self.moments[-1, :-1] / count, self.products[-1] / count
        covariance = self.moments[:-1, :-1] / count - torch.outer(mean_x, mean_x)
        deviation = covariance.diagonal().clamp_min(1e-12).sqrt()
        cross = (self.products[:-1] / count - torch.outer(mean_x, mean_y)) / deviation[:, None]
        correlation = covariance / torch.outer(deviation, deviation)
        penalty = self.ridge * torch.eye(len(mean_x), dtype=torch.float64)
        weight = torch.linalg.solve(correlation + penalty, cross) / deviation[:, None]
        return Line(weight, mean_y - mean_x @ weight)
