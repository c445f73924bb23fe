"""How far aligned tokens are from the teacher's: mean squared error, smooth L1, cosine, or one's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn


class Distance(nn.Module, ABC):
    """To add a distance, derive from this class and write `per_token`."""

    @abstractmethod
    def per_token(self, output: Tensor, target: Tensor) -> Tensor:
        """(B, N) distances, not negative.

        Args:
            output: (B, N, D) float32 aligned tokens of the student.
            target: (B, N, D) float32 tokens of the teacher.
        """

    def forward(self, output: Tensor, target: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Mean distance of (B, N, D) tokens; `chosen` (B, N) bool says which of them count, None takes all."""
        distances = self.per_token(output.float(), target.float())
        if chosen is None:
            return distances.mean()
        # sums instead of distances[chosen]: the number of chosen tokens is not known on the host, and need not be
        return (distances * chosen).sum() / chosen.sum()

    def per_image(self, output: Tensor, target: Tensor, chosen: Tensor | None = None) -> Tensor:
        """(B,) means of every image's tokens; arguments as in `forward`."""
        distances = self.per_token(output.float(), target.float())
        return distances.mean(1) if chosen is None else (distances * chosen).sum(1) / chosen.sum(1)


class MeanSquare(Distance):
    """Mean over channels of the squared difference: the method."""

    def per_token(self, output: Tensor, target: Tensor) -> Tensor:
        """See `Distance.per_token`."""
        return (output - target).square().mean(-1)

    def forward(self, output: Tensor, target: Tensor, chosen: Tensor | None = None) -> Tensor:
        """See `Distance.forward`; over all tokens one kernel, which keeps nothing of a token's size."""
        return F.mse_loss(output.float(), target.float()) if chosen is None else super().forward(output, target, chosen)


class SmoothL1(Distance):
    """Mean over channels; quadratic up to a difference of `beta`, linear from there on: outliers of a teacher's
    channels count less.

    Args:
        beta: above 0.
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta

    def per_token(self, output: Tensor, target: Tensor) -> Tensor:
        """See `Distance.per_token`."""
        return F.smooth_l1_loss(output, target, reduction="none", beta=self.beta).mean(-1)


class Cosine(Distance):
    """One minus the cosine: directions are compared, lengths are not."""

    def per_token(self, output: Tensor, target: Tensor) -> Tensor:
        """See `Distance.per_token`."""
        return 1.0 - F.cosine_similarity(output, target, dim=-1)


DistanceName = Literal["mse", "smooth_l1", "cosine"]


def chosen_distance(distance: DistanceName | Distance) -> Distance:
    """The distance that a setting names."""
    if isinstance(distance, Distance):
        return distance
    kinds: dict[str, type[Distance]] = {"mse": MeanSquare, "smooth_l1": SmoothL1, "cosine": Cosine}
    return kinds[distance]()
