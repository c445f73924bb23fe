"""All common corruptions by name, of one image or of a whole labelled data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np

from gkd_lightning.data.common_corruptions import blurs, digital, noise, weather
from gkd_lightning.data.corruptions import SEVERITIES, ChangedImages, Floats
from gkd_lightning.data.types import Image, Instances, Label, SegmentationDataset
from gkd_lightning.data.unknown import UnknownPixels
from gkd_lightning.errors import UserError, nearest
from gkd_lightning.ranges import Range, Seed

ELASTIC = "elastic"
"""The only one that moves what it shows, and the labels with it."""

COMMON_CORRUPTIONS: dict[str, Callable[[Floats, int, np.random.Generator], Floats]] = {
    "gaussian-noise": noise.gaussian_noise,
    "shot-noise": noise.shot_noise,
    "impulse-noise": noise.impulse_noise,
    "defocus-blur": blurs.defocus_blur,
    "glass-blur": blurs.glass_blur,
    "motion-blur": blurs.motion_blur,
    "zoom-blur": blurs.zoom_blur,
    "snow": weather.snow,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    ELASTIC: digital.elastic,
    "pixelate": digital.pixelate,
    "jpeg": digital.jpeg_compression,
}


def corrupted_commonly(image: Image, corruption: str, severity: int = 3, *, key: tuple[int, ...] = (0,)) -> Image:
    """A corrupted copy of an RGB uint8 (H, W, 3) image, of the same shape.

    Args:
        image: of any size; the constants are those for 224 pixels.
        corruption: one of `COMMON_CORRUPTIONS`.
        severity: 1 to 5.
        key: non-negative integers; the same key, corruption and severity give the same picture.

    Raises:
        UserError: for a corruption or a severity that there is not, naming the valid ones.
    """
    _check(corruption, severity)
    floats = image.astype(np.float32) / np.float32(255)
    changed = COMMON_CORRUPTIONS[corruption](floats, severity, _generator(corruption, key))
    return np.clip(np.rint(changed * 255), 0, 255).astype(np.uint8)


class CommonCorrupted(ChangedImages):
    """A labelled data set seen through one of the common corruptions: other images, the same names.

    Labels are the clean ones, but for `elastic`, which moves them along.

    Args:
        dataset: any SegmentationDataset.
        corruption: one of `COMMON_CORRUPTIONS`, such as `gaussian-noise`.
        severity: 1 to 5.
        seed: another seed, other noise; image i depends on (seed, i) only.

    Raises:
        UserError: no such corruption.
    """

    def __init__(
        self, dataset: SegmentationDataset, corruption: str, severity: Annotated[int, Range(1, 5)] = 3, seed: Seed = 0
    ) -> None:
        _check(corruption, severity)
        super().__init__(dataset)
        self._corruption, self._severity, self._seed = corruption, severity, seed

    def image(self, index: int) -> Image:
        """Corrupted RGB uint8 (H, W, 3)."""
        return corrupted_commonly(
            super().image(index), self._corruption, self._severity, key=(self._seed, index % len(self))
        )

    def label(self, index: int) -> Label:
        """Train ids uint8 (H, W), where the image shows them."""
        label = super().label(index)
        return label if self._corruption != ELASTIC else self._moved(label, index).astype(np.uint8)

    def instances(self, index: int) -> Instances:
        """Instances int32 (H, W), where the image shows them."""
        instances = super().instances(index)
        return instances if self._corruption != ELASTIC else self._moved(instances, index).astype(np.int32)

    def unknown(self, index: int) -> UnknownPixels:
        """Unknown objects bool (H, W), where the image shows them."""
        unknown = super().unknown(index)
        return unknown if self._corruption != ELASTIC else self._moved(unknown, index) > 0

    def _moved(self, numbers: Label | Instances | UnknownPixels, index: int) -> Floats:
        rng = _generator(self._corruption, (self._seed, index % len(self)))
        return digital.moved_along(numbers.astype(np.float32), self._severity, rng)


def _generator(corruption: str, key: tuple[int, ...]) -> np.random.Generator:
    """The same for all severities, which then differ in strength and not in what was drawn."""
    return np.random.default_rng([list(COMMON_CORRUPTIONS).index(corruption), *key])


def _check(corruption: str, severity: int) -> None:
    if corruption not in COMMON_CORRUPTIONS:
        like = nearest(corruption, COMMON_CORRUPTIONS)
        raise UserError(f"no common corruption {corruption!r}{like}; there are {', '.join(COMMON_CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise UserError(f"corruption {corruption!r}: severity {severity!r}; valid are 1, 2, 3, 4, 5")
