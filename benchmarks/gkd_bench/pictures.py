"""Images for timing loaders: as large and as hard to decode as real ones, made here.

Noise whose amplitude falls with the frequency, as in photographs, is a photograph by itself and lies over MiniCity's
streets, which alone would be decoded too quickly.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from gkd_lightning.data.fakes import write_fake
from gkd_lightning.data.types import Image

_FALL = 1.2
"""Power of the frequency; a 500 x 375 JPEG of quality 90 then has about 90 kB, a 1914 x 1052 PNG about 4 MB."""


def natural_noise(height: int, width: int, seed: int) -> Image:
    """RGB uint8 (H, W, 3) with a photograph's spectrum: strong in brightness, weak in colour."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    planes = []
    for spread in (50.0, 15.0, 15.0):
        phases = rng.standard_normal(frequency.shape) + 1j * rng.standard_normal(frequency.shape)
        plane = np.fft.irfft2(phases * frequency**-_FALL, s=(height, width))
        planes.append(plane / plane.std() * spread)
    brightness, warm, cold = planes
    colours = np.stack([brightness + warm, brightness - (warm + cold) / 2, brightness + cold], axis=2)
    return np.asarray(np.clip(128 + colours, 0, 255), dtype=np.uint8)


def write_photographs(folder: Path, images: int = 64, size: tuple[int, int] = (500, 375)) -> Path:
    """An ImageFolder tree of JPEGs of quality 90 below `folder`, in both orientations; its root is returned.

    Args:
        size: (width, height) in pixels; ImageNet's common size by default.
    """
    for number in range(images):
        width, height = size[::-1] if number % 4 == 3 else size
        path = folder / "photographs" / f"class{number % 4}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(natural_noise(height, width, number)).save(path, quality=90)
    return folder / "photographs"


def write_streets(folder: Path, images: int = 12, size: tuple[int, int] = (1914, 1052)) -> Path:
    """GTAV's tree of PNG images and labels below `folder`, streets with noise; its root is returned."""
    root = folder / "gtav"
    write_fake("gtav", root, images, size)
    for number, path in enumerate(sorted((root / "images").rglob("*.png"))):
        with Pillow.open(path) as picture:
            street = np.array(picture.convert("RGB"))
        Pillow.fromarray(_with_noise(street, number)).save(path)
    return root


def _with_noise(street: NDArray[np.uint8], seed: int) -> Image:
    noise = natural_noise(street.shape[0], street.shape[1], seed).astype(np.int16) - 128
    return np.asarray(np.clip(street + noise // 3, 0, 255), dtype=np.uint8)
