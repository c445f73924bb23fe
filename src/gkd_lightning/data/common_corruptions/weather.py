"""Weather as ImageNet-C draws it over any picture: snow, fog, and a brighter sky. They know nothing of distances."""

from __future__ import annotations

import numpy as np

from gkd_lightning.data.common_corruptions.blurs import enlarged, trail
from gkd_lightning.data.corruptions import Floats


def snow(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """Flakes that fall, seen twice, the second time turned upside down, over a whiter image."""
    mean, spread, factor, least, radius, sigma, kept = (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[level - 1]
    drawn = mean + spread * rng.standard_normal(image.shape[:2], dtype=np.float32)
    flakes = enlarged(drawn.astype(np.float32), factor)
    flakes = np.clip(np.where(flakes < least, 0, flakes), 0, 1).astype(np.float32)
    falling = trail(flakes, radius, sigma, rng.uniform(-135, -45))
    grey = (image @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    whiter = np.float32(kept) * image + np.float32(1 - kept) * np.maximum(image, grey * 1.5 + 0.5)
    both: Floats = whiter + (falling + falling[::-1, ::-1])[..., None]
    return both


def fog(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """Clouds between image and eye, without regard to distance; the brightest value stays what it was."""
    thickness, smoothness = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[level - 1]
    height, width = image.shape[:2]
    clouds = plasma(max(height, width), smoothness, rng)[:height, :width, None]
    brightest = float(image.max())
    foggy: Floats = (image + np.float32(thickness) * clouds) * np.float32(brightest / (brightest + thickness))
    return foggy


def brightness(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """More value, the V of HSV, at the same hue and saturation."""
    more = (0.1, 0.2, 0.3, 0.4, 0.5)[level - 1]
    value = image.max(axis=2, keepdims=True)
    brighter = np.minimum(value + np.float32(more), 1)
    scaled: Floats = np.where(value > 0, image * (brighter / np.maximum(value, 1e-6)), brighter)
    return scaled


def plasma(side: int, smoothness: float, rng: np.random.Generator) -> Floats:
    """A cloud on a torus by midpoint displacement (diamond-square), float32 from 0 to 1.

    Args:
        side: at least this many pixels; the next power of two is returned.
        smoothness: by how much the displacement's root shrinks from one grid to the next, finer one.
        rng: of the displacements.
    """
    grid = np.zeros((1, 1), np.float32)
    strength = 1.0
    while len(grid) < side:
        centres = (grid + _next(grid, 0) + _next(grid, 1) + _next(_next(grid, 0), 1)) / 4
        centres = centres + _displaced(centres.shape, strength, rng)
        across = (grid + _next(grid, 1) + centres + np.roll(centres, 1, axis=0)) / 4
        down = (grid + _next(grid, 0) + centres + np.roll(centres, 1, axis=1)) / 4
        finer = np.empty((2 * len(grid), 2 * len(grid)), np.float32)
        finer[::2, ::2], finer[1::2, 1::2] = grid, centres
        finer[::2, 1::2] = across + _displaced(across.shape, strength, rng)
        finer[1::2, ::2] = down + _displaced(down.shape, strength, rng)
        grid, strength = finer, strength / smoothness**2
    grid = grid - grid.min()
    cloud: Floats = grid / max(float(grid.max()), 1e-12)
    return cloud


def _next(grid: Floats, axis: int) -> Floats:
    return np.roll(grid, -1, axis=axis)


def _displaced(shape: tuple[int, ...], strength: float, rng: np.random.Generator) -> Floats:
    drawn: Floats = (2 * rng.random(shape, dtype=np.float32) - 1) * np.float32(strength)
    return drawn
