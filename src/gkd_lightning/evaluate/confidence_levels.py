"""How sure a segmenter is of a pixel, and how often it is right at each level: whole numbers, which add up exactly.

Confidence is cut into `LEVELS` equal levels, (l - 1) / LEVELS < confidence <= l / LEVELS, each of which stands for its
middle: at most 3.1e-5 away. The `BINS` bins of a reliability diagram are whole levels, so which bin a pixel belongs to
is not rounded.
"""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 15
LEVELS = BINS * 1092
UNITS = 2 * LEVELS
"""Of one: the middle of level l (from 1 on) is 2 l - 1 of them."""
BRIER_UNITS = 2**20
"""Of one."""
_LEAST = 1e-12
"""A share of a class below this counts as this much: a score may be 0, its logarithm may not."""


def confidence(scores: Tensor, temperature: float = 1.0) -> Tensor:
    """(B, H, W) in [0, 1] of class scores (B, K, H, W): the share of a pixel's scores that its class has.

    At another temperature T than 1 it is that of the shares ** (1 / T), divided by their sum, as an evaluation counts
    it. The class that a pixel is given stays.
    """
    if temperature == 1:
        return scores.amax(1) / scores.sum(1).clamp_min(_LEAST)
    return relative_logs(scores, 1).mul_(1 / temperature).exp_().sum(1).reciprocal_()  # the best class's term is 1


def relative_logs(scores: Tensor, axis: int) -> Tensor:
    """Logarithms of class scores, less that of the best class; the axis of the classes stays.

    Divided by a temperature, they are logits at it.

    Args:
        scores: not negative, of any sum.
        axis: of the classes.
    """
    found = scores.float()
    logs = torch.maximum(found, (found.sum(axis, keepdim=True) * _LEAST).clamp_min(_LEAST)).log_()
    return logs.sub_(logs.amax(axis, keepdim=True))


def level_counts(sure: Tensor, right: Tensor, counted: Tensor) -> Tensor:
    """Pixels by [wrong or right, level], int64 (2, LEVELS).

    Args:
        sure: confidence in [0, 1], any shape.
        right: bool of the same shape.
        counted: bool; pixels without truth are not.
    """
    places = (sure.float() * LEVELS).ceil().to(torch.int32).clamp_(1, LEVELS) - 1
    places += right.to(torch.int32) * LEVELS
    places.masked_fill_(~counted, 2 * LEVELS)  # a place of their own, cut off below
    counts = torch.bincount(places.flatten(), minlength=2 * LEVELS + 1)
    return counts[: 2 * LEVELS].reshape(2, LEVELS)


def bin_sums(levels: Tensor) -> Tensor:
    """Of each of the bins the pixels, the right ones, and the sum of confidence in `UNITS`: int64 (BINS, 3).

    Args:
        levels: see `level_counts`.
    """
    pixels = levels.sum(0)
    middles = torch.arange(1, UNITS, 2, device=levels.device)
    return torch.stack([part.reshape(BINS, -1).sum(1) for part in (pixels, levels[1], pixels * middles)], 1)


def brier_sum(scores: Tensor, label: Tensor, counted: Tensor) -> Tensor:
    """Sum over pixels of the squared distance between class probabilities and truth, int64 scalar in `BRIER_UNITS`.

    Args:
        scores: (K, H, W), not negative; divided by their sum they are the probabilities.
        label: (H, W) integer class ids.
        counted: (H, W) bool; elsewhere `label` may hold anything.
    """
    total = scores.sum(0).clamp_min(1e-12)
    true = scores.gather(0, label.long().masked_fill(~counted, 0)[None])[0] / total
    squares = torch.zeros_like(total)
    for of_class in scores:  # a tenth of the time of a sum over the first axis, on a CPU
        squares.addcmul_(of_class, of_class)
    distance = squares / total.square() - 2 * true + 1
    units = (distance * BRIER_UNITS).round().to(torch.int32).clamp_(0, 2 * BRIER_UNITS)
    return torch.sum(units.masked_fill_(~counted, 0), dtype=torch.int64)
