"""Blur of four kinds: a lens out of focus, frosted glass, motion along a line, motion towards the scene."""

from __future__ import annotations

import cv2
import numpy as np

from gkd_lightning.data.corruptions import Floats


def defocus_blur(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """Every point becomes a disc with a soft edge."""
    radius, softness = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[level - 1]
    reach = max(8, radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (x**2 + y**2 <= radius**2).astype(np.float32)
    side = 3 if radius <= 8 else 5
    kernel = cv2.GaussianBlur(disc / disc.sum(), (side, side), softness)
    blurred: Floats = cv2.filter2D(image, -1, kernel)
    return blurred


def glass_blur(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """A soft image whose pixels are taken from places nearby, softened again.

    The published code goes through the pixels one after another and trades each with a neighbour; here all are moved at
    once, as often as it goes through them. A pixel travels as far.
    """
    sigma, reach, times = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[level - 1]
    height, width = image.shape[:2]
    shuffled = soft(image, sigma)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    for _ in range(times):
        dy, dx = rng.integers(-reach, reach, size=(2, height, width), dtype=np.int8)
        place = np.clip(x + dx, 0, width - 1), np.clip(y + dy, 0, height - 1)
        shuffled = cv2.remap(shuffled, *place, cv2.INTER_NEAREST)
    return soft(shuffled, sigma)


def motion_blur(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """A trail that fades, along a direction at most 45 degrees from the horizontal."""
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[level - 1]
    return trail(image, radius, sigma, rng.uniform(-45, 45))


def zoom_blur(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """The mean of the image and of enlargements of its middle, the first of them by 1."""
    most, step = ((1.11, 0.01), (1.15, 0.01), (1.20, 0.02), (1.24, 0.02), (1.30, 0.03))[level - 1]
    factors = 1 + step * np.arange(round((most - 1) / step) + 1)
    total = image.copy()
    for factor in factors:
        total += enlarged(image, float(factor))
    return total / np.float32(len(factors) + 1)


def soft(image: Floats, sigma: float) -> Floats:
    """A Gaussian blur that reaches four sigmas and repeats the edge."""
    side = 2 * int(4 * sigma + 0.5) + 1
    blurred: Floats = cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
    return blurred


def enlarged(image: Floats, factor: float) -> Floats:
    """The middle of an image, enlarged to its size."""
    height, width = image.shape[:2]
    middle = np.float32((width - 1) / 2), np.float32((height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, 0, factor)
    found: Floats = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return found


def trail(image: Floats, radius: float, sigma: float, angle: float) -> Floats:
    """Half a Gaussian of 2 * radius + 1 steps along a direction, in degrees, from each pixel on (ImageMagick's)."""
    steps = np.arange(2 * int(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    turn = np.deg2rad(angle)
    down, right = np.rint(steps * np.sin(turn)).astype(int), np.rint(steps * np.cos(turn)).astype(int)
    reach = int(max(abs(down).max(), abs(right).max()))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    np.add.at(kernel, (reach + down, reach + right), weights / weights.sum())
    smeared: Floats = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return smeared
