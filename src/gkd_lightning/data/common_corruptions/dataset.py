"""All common corruptions by name, of one image or of a whole labelled data set."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np

from gkd_lightning.data.common_corruptions import blurs, digital, noise, weather
from gkd_lightning.data.common_corruptions.frost import FROST, frost, frost_photographs
from gkd_lightning.data.corruptions import SEVERITIES, ChangedImages, Floats
from gkd_lightning.data.types import Image, Instances, Label, SegmentationDataset
from gkd_lightning.data.unknown import UnknownPixels
from gkd_lightning.errors import UserError, nearest
from gkd_lightning.ranges import Range, Seed

ELASTIC = "elastic"
"""The only one that moves what it shows, and the labels with it."""

Corruption = Callable[[Floats, int, np.random.Generator], Floats]
"""From an image in [0, 1], a severity and a generator to an image."""

COMMON_CORRUPTIONS: dict[str, Corruption] = {
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
"""Those that need nothing else; `frost` needs photographs."""

_NAMES = [*COMMON_CORRUPTIONS, FROST]


def corrupted_commonly(
    image: Image,
    corruption: str,
    severity: int = 3,
    *,
    key: tuple[int, ...] = (0,),
    frost_images: str | None = None,
) -> Image:
    """A corrupted copy of an RGB uint8 (H, W, 3) image, of the same shape.

    Args:
        image: of any size; the constants are those for 224 pixels.
        corruption: one of `COMMON_CORRUPTIONS`, or `frost`.
        severity: 1 to 5.
        key: non-negative integers; the same key, corruption and severity give the same picture.
        frost_images: folder of photographs of frost, for `frost` alone.

    Raises:
        UserError: for a corruption or a severity that there is not, naming the valid ones; no photographs of frost.
    """
    _check(corruption, severity)
    function, _ = _function(corruption, frost_images)
    return _changed(image, function, severity, _generator(corruption, key))


class CommonCorrupted(ChangedImages):
    """A labelled data set seen through one of the common corruptions: other images, the same names.

    Labels are the clean ones, but for `elastic`, which moves them along.

    Args:
        dataset: any SegmentationDataset.
        corruption: one of `COMMON_CORRUPTIONS`, such as `gaussian-noise`, or `frost`.
        severity: 1 to 5.
        seed: another seed, other noise; image i depends on (seed, i) only.
        frost_images: folder of photographs of frost, for `frost` alone, of which the first five by name are taken.

    Raises:
        UserError: no such corruption, no photographs of frost, or some for another corruption.
    """

    def __init__(
        self,
        dataset: SegmentationDataset,
        corruption: str,
        severity: Annotated[int, Range(1, 5)] = 3,
        seed: Seed = 0,
        frost_images: str | None = None,
    ) -> None:
        _check(corruption, severity)
        super().__init__(dataset)
        self._corruption, self._severity, self._seed = corruption, severity, seed
        self._function, self.shared_files = _function(corruption, frost_images)

    def image(self, index: int) -> Image:
        """Corrupted RGB uint8 (H, W, 3)."""
        rng = _generator(self._corruption, (self._seed, index % len(self)))
        return _changed(super().image(index), self._function, self._severity, rng)

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


def _function(corruption: str, frost_images: str | None) -> tuple[Corruption, tuple[Path, ...]]:
    """What changes an image, and the files that it takes from."""
    if corruption != FROST:
        if frost_images is not None:
            raise UserError(f"frost_images: {frost_images}: of no use to the corruption {corruption!r}, leave it out")
        return COMMON_CORRUPTIONS[corruption], ()
    if frost_images is None:
        raise UserError(
            "corruption 'frost': frost_images is missing, a folder of photographs of frost; the package "
            "imagecorruptions has the published ones in its folder frost"
        )
    photographs = tuple(frost_photographs(frost_images))
    return partial(frost, photographs=photographs), photographs


def _changed(image: Image, function: Corruption, severity: int, rng: np.random.Generator) -> Image:
    changed = function(image.astype(np.float32) / np.float32(255), severity, rng)
    return np.clip(np.rint(changed * 255), 0, 255).astype(np.uint8)


def _generator(corruption: str, key: tuple[int, ...]) -> np.random.Generator:
    """The same for all severities, which then differ in strength and not in what was drawn."""
    return np.random.default_rng([_NAMES.index(corruption), *key])


def _check(corruption: str, severity: int) -> None:
    if corruption not in _NAMES:
        raise UserError(
            f"no common corruption {corruption!r}{nearest(corruption, _NAMES)}; there are {', '.join(_NAMES)}"
        )
    if severity not in SEVERITIES:
        raise UserError(f"corruption {corruption!r}: severity {severity!r}; valid are 1, 2, 3, 4, 5")
