"""Which patch tokens the student has to do without (augmentations.py:50-80 of the official code); keyed noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gkd_lightning.errors import UserError

_STREAM = 0x7465726D
"""Keeps these draws apart from the augmentation's, which start from the same key."""


def random_token_mask(count: int, ratio: float, generator: np.random.Generator | np.random.RandomState) -> torch.Tensor:
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
    """(M, count) bool masks of (M,) int64 sample keys (`gkd_lightning.data.keys`), each drawn from its key alone."""
    ranks = np.empty((len(keys), count), np.int64)
    for row, key in zip(ranks, keys.tolist(), strict=True):
        row[:] = np.random.default_rng(key).permutation(count)
    return torch.from_numpy(ranks < int(count * ratio))  # `random_token_mask` of every row


def keyed_noise(
    keys: torch.Tensor, shape: tuple[int, ...], device: torch.device, stream: int = _STREAM
) -> torch.Tensor:
    """``(B, *shape)`` float32, uniform in [0, 1), each sample's from its key alone: the same on any rank, in any batch.

    Draws of another `stream` are others.
    """
    draws = [np.random.default_rng((key, stream)).random(shape, dtype=np.float32) for key in keys.tolist()]
    return torch.from_numpy(np.stack(draws)).to(device, non_blocking=True)


@dataclass(frozen=True)
class BatchMasks:
    """The masks of a collated batch. Drawing 256 takes 10 ms, so that it is left to the workers of a loader.

    Attributes:
        tokens: number of patch tokens N.
        ratio: share of tokens to mask.
        probability: share of images to mask.
    """

    tokens: int
    ratio: float
    probability: float

    def __call__(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """``{"mask": (M, N) bool}`` of the batch's first M images, each drawn from its sample's `key`.

        Raises:
            UserError: M is 0, or a mask hides nothing.
        """
        keys = batch["key"]
        return {"mask": batch_masks(keys[: self.require(len(keys))], self.tokens, self.ratio)}

    def require(self, images: int) -> int:
        """How many of a batch of so many `images` are masked.

        Raises:
            UserError: as a call.
        """
        chosen = masked_samples(images, self.probability)
        if chosen == 0:
            raise UserError(
                f"mask_probability: {self.probability} of a batch of {images} per device is no image; raise "
                "data.batch_size or leave masking out (model.beta: 0)"
            )
        if int(self.tokens * self.ratio) == 0:
            raise UserError(f"mask_ratio: {self.ratio} of {self.tokens} patch tokens hides none; raise it")
        return chosen


@dataclass(frozen=True)
class MasksBySide:
    """The masks of collated batches of square images of several sides.

    Attributes:
        by_side: how they are drawn for images of each side in pixels.
    """

    by_side: Mapping[int, BatchMasks]

    def __call__(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """See `BatchMasks`."""
        return self.by_side[batch["image"].shape[-1]](batch)
