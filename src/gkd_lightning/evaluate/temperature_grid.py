"""What confidence would be at other temperatures: counted at each of a few, as whole numbers, which add up exactly.

At temperature T the probabilities of a pixel are p ** (1 / T), divided by their sum: of a softmax that is the same as
dividing its logits by T, and it is defined for any scores that are not negative. The class that a pixel is given stays.
"""

from __future__ import annotations

import zlib
from functools import cache

import torch
from torch import Tensor

from gkd_lightning.evaluate.confidence_levels import BINS, UNITS, relative_logs

TEMPERATURES = (
    0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2.0, 2.25, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0,
)  # fmt: skip
"""Those that are tried."""
AS_IT_IS = TEMPERATURES.index(1.0)
STRIDE = 9
"""Every so many rows and columns are looked at. It shares no divisor with the patches of encoders, 8, 14, 16 or 32
pixels wide, so that the pixels lie anywhere in a patch, in the middle as often as between two."""
LOSS_UNITS = 2**20
"""Of one nat."""
_AT_ONCE = 2**16  # pixels times temperatures that are in memory together, for every class
_PLACES = len(TEMPERATURES) * BINS


def sampled(name: str, *maps: Tensor) -> list[Tensor]:
    """The pixels that are looked at of each (..., H, W): (..., n).

    Where the rows and columns begin follows from the image's name: streets look alike at the same place of all images.
    """
    top, left = divmod(zlib.crc32(name.encode("utf-8", "surrogateescape")) % STRIDE**2, STRIDE)
    return [each[..., top::STRIDE, left::STRIDE].flatten(-2) for each in maps]


def temperature_counts(scores: Tensor, label: Tensor, right: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Confidence and loss of one image at every temperature.

    Args:
        scores: (K, n), not negative.
        label: (n,) integer class ids.
        right: (n,) bool, whether the class with the highest score is the true one.
        counted: (n,) bool; elsewhere `label` may hold anything.

    Returns:
        int64 (T, BINS, 3): of every bin the pixels, the right ones and the sum of their confidence in `UNITS`.
        int64 (T,): the sum of the negative log likelihood in `LOSS_UNITS`.
    """
    inverse, offset = _grid(str(scores.device))
    logs = relative_logs(scores.nan_to_num(0, 0, 0), 0)  # of a segmenter that has diverged: no score at all
    true = logs.gather(0, label.long().masked_fill(~counted, 0)[None])[0]
    pixels = torch.zeros(2 * _PLACES + 1, dtype=torch.int64, device=scores.device)
    sure, losses = torch.zeros_like(pixels), torch.zeros(len(TEMPERATURES), dtype=torch.int64, device=scores.device)
    first = torch.where(counted, right * _PLACES, 2 * _PLACES)  # a place of their own, cut off below
    size = _AT_ONCE // len(TEMPERATURES)
    for part, of_true, start in zip(logs.split(size, 1), true.split(size), first.split(size), strict=True):
        total = (part * inverse[:, None]).exp_().sum(1)  # (T, n): the term of the best class is 1
        loss = total.log().addcmul_(of_true, inverse, value=-1).mul_(start < 2 * _PLACES)
        losses += loss.mul_(LOSS_UNITS).round_().to(torch.int64).sum(1)
        share = total.reciprocal_()
        places = (share * BINS).ceil_().to(torch.int64).add_(offset).add_(start).clamp_(max=2 * _PLACES).flatten()
        pixels += torch.bincount(places, minlength=len(pixels))
        sure.index_add_(0, places, share.mul_(UNITS).round_().to(torch.int64).flatten())
    wrong, right_ones = torch.stack([pixels, sure], -1)[:-1].reshape(2, len(TEMPERATURES), BINS, 2)
    both = wrong + right_ones
    return torch.stack([both[..., 0], right_ones[..., 0], both[..., 1]], -1), losses


@cache
def _grid(device: str) -> tuple[Tensor, Tensor]:
    """1 / T and the first place of each temperature's bins, less one as bins are counted from one; both (T, 1)."""
    inverse = torch.tensor([[1 / each] for each in TEMPERATURES], device=device)
    return inverse, torch.arange(len(TEMPERATURES), device=device)[:, None] * BINS - 1
