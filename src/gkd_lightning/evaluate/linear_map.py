"""The straight line from one encoder's tokens to another's: ridge regression in closed form, from sums over batches."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

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
    """Least squares from tokens of width p to tokens of width q, in float64; memory does not grow with the samples.

    Tokens are standardised channel by channel, and the penalty is `ridge` times the squared weights of the standardised
    problem, averaged over tokens.

    Args:
        first: p.
        second: q.
        ridge: see above, above 0.
    """

    def __init__(self, first: int, second: int, ridge: float = 1e-3) -> None:
        if ridge <= 0:
            raise UserError(f"ridge: {ridge} must be above 0, or a constant channel has no answer")
        self.ridge = ridge
        self.count = 0
        self.sums = torch.zeros(first, dtype=torch.float64), torch.zeros(second, dtype=torch.float64)
        self.squares = torch.zeros(first, first, dtype=torch.float64)
        self.products = torch.zeros(first, second, dtype=torch.float64)

    def add(self, first: Tensor, second: Tensor) -> None:
        """Count (n, p) tokens and the (n, q) tokens that they should become."""
        x, y = first.double(), second.double()
        self.count += len(x)
        self.sums = self.sums[0] + x.sum(0).cpu(), self.sums[1] + y.sum(0).cpu()
        self.squares += (x.T @ x).cpu()
        self.products += (x.T @ y).cpu()

    def solve(self) -> Line:
        """The best line through what was counted.

        Raises:
            UserError: nothing was counted.
        """
        if self.count == 0:
            raise UserError("linear map: no token to fit it on")
        mean_x, mean_y = (total / self.count for total in self.sums)
        covariance = self.squares / self.count - torch.outer(mean_x, mean_x)
        deviation = covariance.diagonal().clamp_min(1e-12).sqrt()
        cross = (self.products / self.count - torch.outer(mean_x, mean_y)) / deviation[:, None]
        penalty = self.ridge * torch.eye(len(mean_x), dtype=torch.float64)
        weight = torch.linalg.solve(covariance / torch.outer(deviation, deviation) + penalty, cross)
        weight = weight / deviation[:, None]
        return Line(weight, mean_y - mean_x @ weight)
