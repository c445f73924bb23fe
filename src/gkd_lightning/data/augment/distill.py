"""Stage 1 augmentation: what the official distillation code gets from timm, ending in uint8.

Random resized crop, flip, RandAugment, random erasing, with timm's own draws. Two things differ from the official
pipeline, both on purpose: every draw comes from the sample's key, and the image leaves as uint8 instead of
normalised floats. So the erasing noise, N(0, 1) per normalised channel, is mapped back through mean and
standard deviation and clipped to 0..255.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from PIL import Image as Pillow
from timm.data.auto_augment import RandAugment, rand_augment_transform
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.transforms import RandomResizedCropAndInterpolation, str_to_pil_interp
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from gkd_lightning.data.augment.limits import require_shares, require_size
from gkd_lightning.data.keys import keyed_generators
from gkd_lightning.data.types import Image
from gkd_lightning.errors import UserError

_ATTEMPTS, _ERASED_SHARE, _ERASED_LOG_RATIO = 10, (0.02, 1 / 3), (math.log(0.3), math.log(1 / 0.3))
"""timm's defaults, which the official code leaves as they are."""


@dataclass(frozen=True)
class DistillAugmentation:
    """Settings of stage 1; the defaults are the official ones (general_distillation/datasets.py, main.py).

    Args:
        scale: share of the image's area that a crop covers.
        ratio: aspect ratio of the crop.
        interpolation: of the crop's resizing and of RandAugment's warps.
        flip: probability of a horizontal flip.
        rand_augment: timm's specification; an empty string switches it off.
        erasing: probability of erasing one rectangle.
        erasing_mode: noise per pixel, one random colour, or the mean colour.
        mean: fill colour of warps and centre of the erasing noise, RGB in 0..1.
        std: spread of the erasing noise.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    flip: float = 0.5
    rand_augment: str = "rand-m9-mstd0.5-inc1"
    erasing: float = 0.25
    erasing_mode: Literal["pixel", "rand", "const"] = "pixel"
    mean: tuple[float, float, float] = IMAGENET_DEFAULT_MEAN
    std: tuple[float, float, float] = IMAGENET_DEFAULT_STD


class DistillTransform:
    """Image (H, W, 3) uint8 and key -> tensor (3, size, size) uint8. The same key gives the same pixels.

    Raises:
        UserError: a RandAugment specification that timm does not understand; a size or probability that is none.
    """

    def __init__(self, config: DistillAugmentation, size: int) -> None:
        require_shares("augmentation", config, "flip", "erasing")
        require_size(size)
        self.config, self.size = config, size
        self._resample = str_to_pil_interp(config.interpolation)
        self._rand_augment = _rand_augment(config, size) if config.rand_augment else None
        self._mean = torch.tensor(config.mean).view(3, 1, 1)
        self._std = torch.tensor(config.std).view(3, 1, 1)

    def __call__(self, image: Image, key: int) -> Tensor:
        """Augment; the global generators are as before afterwards."""
        with keyed_generators(key):
            picture = self._flipped(self._crop(image))
            if self._rand_augment is not None:
                picture = self._rand_augment(picture)
            tensor: Tensor = pil_to_tensor(picture)
            noise = draw_erasing(self.size, self.config.erasing, self.config.erasing_mode)
        if noise is not None:
            top, left, values = noise
            height, width = values.shape[1:]
            tensor[:, top : top + height, left : left + width] = self._seen(values)
        return tensor

    def _crop(self, image: Image) -> Pillow.Image:
        top, left, height, width = draw_crop(image.shape[0], image.shape[1], self.config.scale, self.config.ratio)
        # cut before Pillow copies it: it sees the same pixels, of which there are only half on average
        cut = Pillow.fromarray(image[top : top + height, left : left + width])
        return cut.resize((self.size, self.size), self._resample)

    def _flipped(self, picture: Pillow.Image) -> Pillow.Image:
        return picture.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT) if torch.rand(1) < self.config.flip else picture

    def _seen(self, noise: Tensor) -> Tensor:
        return noise.mul(self._std).add_(self._mean).mul_(255).round_().clamp_(0, 255).to(torch.uint8)


def draw_crop(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of timm's random resized crop in an image of this size, from `random`."""
    sizes_only = torch.empty(()).expand(1, height, width)
    box: tuple[int, int, int, int] = RandomResizedCropAndInterpolation.get_params(sizes_only, scale, ratio)
    return box


def draw_erasing(size: int, probability: float, mode: str) -> tuple[int, int, Tensor] | None:
    """One rectangle of timm's random erasing: the same draws without a canvas that is mostly left alone.

    Args:
        size: side of the square image.
        probability: of erasing anything.
        mode: `pixel`, `rand` or `const`.

    Returns:
        top, left, float32 (3, h, w) standard normal noise (zeros for `const`), or None.
    """
    if random.random() > probability:
        return None
    for _ in range(_ATTEMPTS):
        area = random.uniform(*_ERASED_SHARE) * (size * size)
        ratio = math.exp(random.uniform(*_ERASED_LOG_RATIO))
        height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if height < size and width < size:
            top, left = random.randint(0, size - height), random.randint(0, size - width)
            if mode == "pixel":
                return top, left, torch.empty(3, height, width).normal_()
            colour = torch.empty(3, 1, 1).normal_() if mode == "rand" else torch.zeros(3, 1, 1)
            return top, left, colour.expand(3, height, width)
    return None


def _rand_augment(config: DistillAugmentation, size: int) -> RandAugment:
    parameters = {
        "translate_const": int(size * 0.45),
        "img_mean": tuple(min(255, round(255 * value)) for value in config.mean),
        "interpolation": str_to_pil_interp(config.interpolation),
    }
    try:
        transform: RandAugment = rand_augment_transform(config.rand_augment, parameters)
    except (AssertionError, ValueError) as error:
        raise UserError(
            f"augmentation.rand_augment: timm does not understand {config.rand_augment!r}; "
            "write it like rand-m9-mstd0.5-inc1"
        ) from error
    for operation in transform.ops:
        if operation.name.startswith("Posterize"):
            operation.level_fn = partial(_some_bits, operation.level_fn)
    return transform


def _some_bits(level: Callable[..., tuple[int]], magnitude: float, settings: dict[str, Any]) -> tuple[int]:
    # At full magnitude timm asks for 0 bits: a black image in older releases of Pillow, an error in newer ones.
    return (max(1, level(magnitude, settings)[0]),)
