"""How the losses of several teachers become one: weights, weights over running means, or teachers dropped by image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from gkd_lightning.distill.masking import keyed_noise
from gkd_lightning.ranges import InnerShare, Momentum, Ranged
from gkd_lightning.ranks import mean_over_ranks

_STREAM = 0x7EAC4E2
"""Sets the draws of teacher dropping apart from a sample's other draws."""


class Balance(Ranged, nn.Module, ABC):
    """To add one, derive from this class and write `forward`; buffers made in `attach` are in the checkpoint."""

    per_image = False
    """Whether `forward` wants each loss image by image, (B,), which the objectives then have to tell."""

    def attach(self, count: int) -> None:
        """Make what depends on the number of teachers; called once."""

    def begin_step(self, step: int) -> None:
        """Called before the first micro-batch of an optimiser step, counted from 0."""

    @abstractmethod
    def forward(self, losses: Sequence[Tensor], weights: Sequence[float], keys: Tensor) -> Tensor:
        """What is minimised.

        Args:
            losses: of each teacher, in the order of their names, not weighted yet: a scalar, or (B,) for `per_image`.
            weights: the teachers'.
            keys: (B,) int64 on the host: whatever is random about a sample is drawn from its key.
        """


class Fixed(Balance):
    """``sum of weight * loss``."""

    def forward(self, losses: Sequence[Tensor], weights: Sequence[float], keys: Tensor) -> Tensor:
        """See `Balance.forward`."""
        return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum()


class Magnitude(Balance):
    """``sum of weight * loss / mean``, with the running mean of the same teacher's loss: each has its weight's share.

    The mean is an exponential one over the optimiser steps before, over all micro-batches and ranks, its start
    corrected for; the first step is divided by its own loss.

    Args:
        decay: of the mean, a step.

    Source: AdaLoss (Hu et al., "Learning Anytime Predictions in Neural Networks via Adaptive Loss Balancing", AAAI
    2019), which weights each loss by the inverse of its running mean.
    """

    running: Tensor
    """(2, T): decayed sums of the losses, and of ones."""
    pending: Tensor
    """(2, T): sums of the losses of the step in work, and of ones."""

    def __init__(self, decay: Momentum = 0.99) -> None:
        super().__init__()
        self.decay, self._first = decay, True

    def attach(self, count: int) -> None:
        """Make the sums."""
        self.register_buffer("running", torch.zeros(2, count))
        self.register_buffer("pending", torch.zeros(2, count))

    def begin_step(self, step: int) -> None:
        """Take in the step before."""
        self._first = step == 0
        if not self._first:
            losses, ones = mean_over_ranks(self.pending.clone())
            mean = torch.stack([losses / ones.clamp_min(1), ones.clamp_max(1)])
            self.running.mul_(self.decay).add_(mean, alpha=1 - self.decay)
            self.pending.zero_()

    def forward(self, losses: Sequence[Tensor], weights: Sequence[float], keys: Tensor) -> Tensor:
        """See `Balance.forward`."""
        values = torch.stack(list(losses))
        own = values.detach().float()
        self.pending += torch.stack([own, torch.ones_like(own)])
        mean = mean_over_ranks(own.clone()) if self._first else self.running[0] / self.running[1]
        return (values * values.new_tensor(weights) / mean.clamp_min(torch.finfo(mean.dtype).tiny)).sum()


class Dropping(Balance):
    """Image by image: the teacher of the largest weighted loss stays, every other is dropped by chance.

    ``T * mean of weight * loss`` over the pairs of image and teacher that are kept, of all ranks: with nothing dropped
    the sum that `Fixed` minimises. Draws are made from the samples' keys, so they are the same on any number of
    devices and after an interruption.

    Args:
        probability: of dropping a teacher that is not the one of the largest loss.

    Source: teacher dropping of UNIC (Sariyildiz et al., ECCV 2024, arXiv 2408.05088), whose code takes the mean over
    the kept pairs of one process; its probability is 0.5.
    """

    per_image = True

    def __init__(self, probability: InnerShare = 0.5) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, losses: Sequence[Tensor], weights: Sequence[float], keys: Tensor) -> Tensor:
        """See `Balance.forward`."""
        values = torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)])
        draws = keyed_noise(keys, (len(values),), values.device, _STREAM).T
        largest = values.detach().argmax(0, keepdim=True)
        kept = (draws >= self.probability).scatter(0, largest, True).to(values.dtype)
        return len(values) * (values * kept).sum() / mean_over_ranks(kept.sum())


BalanceName = Literal["fixed", "magnitude", "dropping"]


def chosen_balance(balance: BalanceName | Balance) -> Balance:
    """The balance that a setting names."""
    if isinstance(balance, Balance):
        return balance
    kinds: dict[str, type[Balance]] = {"fixed": Fixed, "magnitude": Magnitude, "dropping": Dropping}
    return kinds[balance]()
