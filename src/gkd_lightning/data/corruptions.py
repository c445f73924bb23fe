"""Synthetic bad weather, darkness and camera faults for any RGB image: extra target domains from any labelled set.

    Corrupted(camvid_test, "fog", severity=3)

is a dataset with the same labels, and the same (seed, index) gives the same picture wherever OpenCV is the same
build. Severity 1 is a light touch, 5 leaves little to see. All sizes (streak lengths, flake radii, blur) scale with
the image's height.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data.segments import has_instances
from gkd_lightning.data.types import Image, Instances, Label, SegmentationDataset
from gkd_lightning.data.unknown import UnknownPixels, has_unknown
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Range, Ranged, Seed

Floats = NDArray[np.floating[Any]]
"""(H, W, 3) in [0, 1], or (H, W)."""

SEVERITIES = (1, 2, 3, 4, 5)


def _field(rng: np.random.Generator, height: int, width: int, cells: int) -> Floats:
    """Smooth random field in [0, 1] with about `cells` bumps from left to right."""
    rows = max(2, round(cells * height / width))
    coarse = rng.random((rows + 2, cells + 2), dtype=np.float32)
    smooth: Floats = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth, 0, 1)


def _distance(image: Floats) -> Floats:
    """A guess of how far away every pixel is, in [0, 1], for a picture taken from the road.

    Below a horizon at 45 % of the height the ground comes nearer like 1 / rows below the horizon; above it, bright
    and colourless areas are taken for sky and lie farther away than dark ones.
    """
    height, width = image.shape[:2]
    below = (np.arange(height, dtype=np.float32) / height - 0.45) / 0.55
    ground = np.where(below > 0, 0.11 / (0.11 + np.maximum(below, 0)), 1.0).astype(np.float32)
    bright = cv2.GaussianBlur(image.min(axis=2), (0, 0), height / 60)
    upright = np.clip(0.45 + 0.75 * bright, 0, 1)
    depth = np.minimum(upright, ground[:, None])  # continuous across the horizon
    return np.asarray(cv2.GaussianBlur(depth, (0, 0), max(height / 80, 0.5)), np.float32).reshape(height, width)


def _add_noise(image: Floats, rng: np.random.Generator, shot: float, read: float) -> Floats:
    """Photon noise (grows with the root of the signal) and read-out noise."""
    spread = shot * np.sqrt(np.maximum(image, 0)) + read
    return image + spread * rng.standard_normal(image.shape, dtype=np.float32)


def _desaturate(image: Floats, share: float) -> Floats:
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return image + (grey[..., None] - image) * np.float32(share)


def night(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """Little, bluish light; a bright patch before the own car; glowing lamps; a noisy sensor."""
    height, width = image.shape[:2]
    light = (0.52, 0.40, 0.29, 0.21, 0.14)[level - 1]
    linear = np.maximum(_desaturate(image, 0.35 + 0.06 * level), 0) ** 2.2
    linear *= np.float32(np.clip((0.14 / max(float(linear.mean()), 1e-3)) ** 0.6, 0.6, 2.2))  # dusk is dark already
    upper = np.clip((0.62 - np.arange(height, dtype=np.float32)[:, None] / height) / 0.1, 0, 1)
    pale = cv2.GaussianBlur(linear.min(axis=2), (0, 0), max(height / 250, 0.3))
    linear = linear * (1 - 0.93 * np.clip(upper * (pale * 4 - 0.3), 0, 1))[..., None]  # no bright sky at night
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    beam = np.exp(-(((x / width - 0.5) / 0.42) ** 2) - ((y / height - 0.78) / 0.25) ** 2)
    power = light**2.2 * (1 + 3.5 * beam[..., None]) * np.array([0.82, 0.92, 1.28], np.float32)
    lamps = np.zeros((height, width), np.float32)
    for _ in range(rng.integers(2, 3 + level)):
        centre_x, centre_y = rng.random() * width, (0.28 + 0.3 * rng.random()) * height
        radius = (0.010 + 0.022 * rng.random()) * height
        square = (x - centre_x) ** 2 + (y - centre_y) ** 2
        lamps += np.exp(-square / (2 * radius**2)) + 0.10 / (1 + square / (5 * radius) ** 2) ** 1.5
    warm = np.array([1.0, 0.78, 0.48], np.float32)
    lit = linear * power * 2.4 + linear * np.minimum(lamps, 1.5)[..., None] * 0.5 + lamps[..., None] * warm * 0.45
    dark = np.clip(lit, 0, 1) ** np.float32(1 / 2.2)
    return _add_noise(dark, rng, 0.012 * level, 0.006 * level)


def fog(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """Light is lost exponentially with distance and replaced by the fog's grey, in slow patches."""
    height, width = image.shape[:2]
    density = (1.0, 1.6, 2.4, 3.4, 5.0)[level - 1] * (0.8 + 0.4 * _field(rng, height, width, 3))
    through = np.exp(-density * _distance(image))[..., None]
    air = np.float32(0.70 + 0.12 * rng.random()) * np.array([0.985, 1.0, 1.015], np.float32)
    result: Floats = _desaturate(image, 0.06 * level) * through + air * (1 - through)
    return result


def _streaks(rng: np.random.Generator, height: int, width: int, count: int, length: float, slant: float) -> Floats:
    """Mask of thin parallel strokes, at most 1."""
    layer = np.zeros((height, width), np.uint8)
    for _ in range(count):
        x, y = rng.random() * width * 1.2 - 0.1 * width, rng.random() * height * 1.2 - 0.2 * height
        run = length * height * (0.6 + 0.8 * rng.random())
        ends = (round(x), round(y)), (round(x + run * slant), round(y + run))
        cv2.line(layer, ends[0], ends[1], int(rng.integers(120, 255)), max(1, round(height / 360)), cv2.LINE_AA)
    soft = cv2.GaussianBlur(layer, (0, 0), max(height / 700, 0.35))
    mask: Floats = soft.astype(np.float32) / 255
    return mask


def rain(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """A dull, darker, lower-contrast scene with haze, a shining road and streaks in two distances."""
    height, width = image.shape[:2]
    dull = _desaturate(image, 0.22 + 0.08 * level) * np.float32(0.92 - 0.07 * level)
    through = np.exp(-0.16 * level * _distance(image))[..., None]
    wet = dull * through + np.float32(0.50) * (1 - through)
    horizon = round(0.52 * height)
    low = height - horizon
    mirror = np.zeros_like(wet)
    mirror[horizon:] = wet[max(horizon - low, 0) : horizon][::-1][:low] if horizon >= low else wet[horizon:]
    mirror = cv2.GaussianBlur(mirror, (0, 0), sigmaX=max(height / 200, 0.4), sigmaY=max(height / 40, 0.8))
    puddle = np.clip(_field(rng, height, width, 6) * 1.6 - 0.5, 0, 1)
    puddle *= np.clip((np.arange(height, dtype=np.float32)[:, None] - horizon) / (0.15 * height), 0, 1)
    wet = wet + (mirror - wet) * (puddle * 0.09 * level)[..., None]
    slant = rng.uniform(-0.25, 0.25)
    area = width / height
    far = _streaks(rng, height, width, round(70 * level * area), 0.03, slant)
    near = _streaks(rng, height, width, round(22 * level * area), 0.11, slant)
    strokes = np.clip(0.30 * far + 0.42 * near, 0, 0.6)[..., None]
    result: Floats = wet + (np.float32(0.82) - wet) * strokes
    return result


def _flakes(rng: np.random.Generator, height: int, width: int, count: int, radius: float) -> Floats:
    layer = np.zeros((height, width), np.uint8)
    for _ in range(count):
        size = max(radius * height * (0.5 + rng.random()), 0.6)
        centre = round(rng.random() * width * 16), round(rng.random() * height * 16)
        cv2.circle(layer, centre, round(size * 16), int(rng.integers(150, 256)), -1, cv2.LINE_AA, shift=4)
    soft = cv2.GaussianBlur(layer, (0, 0), max(radius * height * 0.5, 0.4))
    mask: Floats = soft.astype(np.float32) / 255
    return mask


def snow(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """Flakes in three distances, a pale sky light, and snow that lies on the ground in patches."""
    height, width = image.shape[:2]
    pale = _desaturate(image, 0.15 + 0.07 * level)
    through = np.exp(-0.2 * level * _distance(image))[..., None]
    white = np.array([0.90, 0.92, 0.96], np.float32)
    pale = pale * through + white * (1 - through)
    below = np.clip((np.arange(height, dtype=np.float32) / height - 0.5) / 0.12, 0, 1)[:, None]
    texture = sum(_field(rng, height, width, cells) * share for cells, share in ((10, 0.4), (30, 0.3), (90, 0.3)))
    lying = np.clip((texture - 0.80 + 0.11 * level) * 2, 0, 0.2 + 0.13 * level) * below
    brightness = image.mean(axis=2)  # snow keeps the light and shade of what lies under it
    pale = pale + (white * (0.62 + 0.45 * brightness)[..., None] - pale) * lying[..., None]
    area = width / height
    for count, radius, strength in ((150, 0.0020, 0.55), (40, 0.0042, 0.7), (5, 0.010, 0.7)):
        flakes = _flakes(rng, height, width, round(count * level * area), radius)[..., None]
        pale = pale + (np.float32(0.97) - pale) * np.clip(flakes * strength, 0, 1)
    result: Floats = pale
    return result


def blur(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """Motion along a random direction, and a lens out of focus."""
    height = image.shape[0]
    length = (0.012, 0.02, 0.03, 0.045, 0.065)[level - 1] * height
    angle = rng.uniform(0, np.pi)
    reach = max(round(length / 2), 1)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    dx, dy = reach * np.cos(angle), reach * np.sin(angle)
    cv2.line(kernel, (round(reach - dx), round(reach - dy)), (round(reach + dx), round(reach + dy)), 1.0, 1)
    moved = cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    soft: Floats = cv2.GaussianBlur(moved, (0, 0), max(0.0022 * level * height, 0.25 * level))
    return soft


def noise(image: Floats, level: int, rng: np.random.Generator) -> Floats:
    """Photon and read-out noise of a sensor at high gain, some of it in blotches of 2 × 2 pixels."""
    height, width = image.shape[:2]
    strength = (0.04, 0.07, 0.11, 0.16, 0.23)[level - 1]
    coarse = rng.standard_normal((-(-height // 2), -(-width // 2), 3), dtype=np.float32)
    blotch = np.repeat(np.repeat(coarse, 2, axis=0), 2, axis=1)[:height, :width]
    return _add_noise(image, rng, strength, strength * 0.5) + blotch * np.float32(strength * 0.35)


CORRUPTIONS: dict[str, Callable[[Floats, int, np.random.Generator], Floats]] = {
    "night": night, "fog": fog, "rain": rain, "snow": snow, "blur": blur, "noise": noise,
}  # fmt: skip


def corrupt(image: Image, corruption: str, severity: int = 3, *, key: tuple[int, ...] = (0,)) -> Image:
    """A corrupted copy of an RGB uint8 (H, W, 3) image, of the same shape.

    Args:
        image: any size from 8×8 up.
        corruption: one of `CORRUPTIONS`.
        severity: 1 (light) to 5 (little is left).
        key: non-negative integers; the same key gives the same streaks, flakes and noise.

    Raises:
        UserError: for a corruption or a severity that there is not, naming the valid ones.
    """
    check_corruption(corruption, severity)
    rng = np.random.default_rng([list(CORRUPTIONS).index(corruption), *key])
    corrupted = CORRUPTIONS[corruption](image.astype(np.float32) / 255, severity, rng)
    return np.clip(np.rint(corrupted * 255), 0, 255).astype(np.uint8)


def check_corruption(corruption: str, severity: int) -> None:
    """UserError unless there is such a corruption and severity."""
    if corruption not in CORRUPTIONS:
        raise UserError(f"no corruption {corruption!r}; there are {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise UserError(f"corruption {corruption!r}: severity {severity!r}; valid are 1, 2, 3, 4, 5")


class ChangedImages(Ranged):
    """A labelled data set whose images are others: the same labels, instances and names."""

    def __init__(self, dataset: SegmentationDataset) -> None:
        self._dataset = dataset
        self.label_space = dataset.label_space

    def __len__(self) -> int:
        return len(self._dataset)

    def image(self, index: int) -> Image:
        """The clean data set's image, for those who change it."""
        return self._dataset.image(index)

    def label(self, index: int) -> Label:
        """The clean data set's label."""
        return self._dataset.label(index)

    @property
    def has_instances(self) -> bool:
        """Whether the clean data set has them."""
        return has_instances(self._dataset)

    def instances(self, index: int) -> Instances:
        """The clean data set's instances."""
        found: Instances = self._dataset.instances(index)  # type: ignore[attr-defined]
        return found

    @property
    def has_unknown(self) -> bool:
        """Whether the clean data set knows of unknown objects."""
        return has_unknown(self._dataset)

    def unknown(self, index: int) -> UnknownPixels:
        """The clean data set's unknown objects, bool (H, W)."""
        found: UnknownPixels = self._dataset.unknown(index)  # type: ignore[attr-defined]
        return found

    def name(self, index: int) -> str:
        """The clean data set's name."""
        return self._dataset.name(index)


class Corrupted(ChangedImages):
    """A labelled dataset seen through a corruption: other images, the same labels and names.

    Args:
        dataset: any SegmentationDataset.
        corruption: night, fog, rain, snow, blur or noise.
        severity: 1 to 5.
        seed: another seed, other streaks; image i depends on (seed, i) only.
    """

    def __init__(
        self, dataset: SegmentationDataset, corruption: str, severity: Annotated[int, Range(1, 5)] = 3, seed: Seed = 0
    ) -> None:
        check_corruption(corruption, severity)
        super().__init__(dataset)
        self._corruption, self._severity, self._seed = corruption, severity, seed

    def image(self, index: int) -> Image:
        """Corrupted RGB uint8 (H, W, 3)."""
        position = index % len(self)
        return corrupt(super().image(index), self._corruption, self._severity, key=(self._seed, position))
