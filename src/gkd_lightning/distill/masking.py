"""Which patch tokens the student has to do without (augmentations.py:50-80 of the official code)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray


class Permuter(Protocol):
    """`numpy.random.Generator` or `numpy.random.RandomState`."""

    def permutation(self, n: int) -> NDArray[np.int64]:
        """0 .. n-1 in random order."""
        ...


def random_token_mask(count: int, ratio: float, generator: Permuter) -> torch.Tensor:
    """(count,) bool with exactly int(count * ratio) True at uniformly random positions."""
    # Comparing ranks, not indexing with them: the same draw as the official shuffle of ones and zeros.
    return torch.from_numpy(generator.permutation(count) < int(count * ratio))


def masked_samples(batch_size: int, probability: float) -> int:
    """How many samples of a batch are masked: the first floor(batch_size * probability).

    Official: no shuffling within the per-rank batch. With samples dealt to ranks in strides, the masked ones of
    all ranks together are the first half of the global batch, as on a single device, as long as half of a rank's
    micro-batch is a whole number.
    """
    return int(batch_size * probability)


def batch_masks(keys: torch.Tensor, count: int, ratio: float) -> torch.Tensor:
    """(len(keys), count) bool masks, each drawn from its sample's key alone.

    Args:
        keys: (M,) int64 sample keys (see `gkd_lightning.data.keys`).
        count: number of patch tokens N.
        ratio: share of tokens to mask.
    """
    masks = [random_token_mask(count, ratio, np.random.default_rng(key)) for key in keys.tolist()]
    return torch.stack(masks) if masks else torch.zeros(0, count, dtype=torch.bool)
