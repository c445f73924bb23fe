"""Noise of three kinds, drawn for each channel of each pixel."""

from __future__ import annotations

import numpy as np

from gkd_lightning.data.corruptions import Floats


def gaussian_noise(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """Added, of the same strength everywhere."""
    spread = (0.08, 0.12, 0.18, 0.26, 0.38)[level - 1]
    return image + np.float32(spread) * rng.standard_normal(image.shape, dtype=np.float32)


def shot_noise(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """A pixel counts photons, of which full brightness has this many on average."""
    photons = (60, 25, 12, 5, 3)[level - 1]
    counted: Floats = rng.poisson(image * photons).astype(np.float32)
    return counted / np.float32(photons)


def impulse_noise(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """A share of the values becomes 0 or 1, one as often as the other."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[level - 1]
    drawn = rng.random(image.shape, dtype=np.float32)
    salted: Floats = np.where(drawn < share, (drawn < share / 2).astype(np.float32), image)
    return salted
