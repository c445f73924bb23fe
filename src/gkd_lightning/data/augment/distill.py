"""Stage 1 augmentation: what the official distillation code gets from timm, ending in uint8.

Random resized crop, flip, RandAugment, random erasing, all timm's own. Two things differ from the official
pipeline, both on purpose: every draw comes from the sample's key, and the image leaves as uint8 instead of
normalised floats. So the erasing noise, N(0, 1) per normalised channel, is mapped back through mean and
standard deviation and clipped to 0..255.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from PIL import Image as Pillow
from timm.data.auto_augment import RandAugment, rand_augment_transform
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.random_erasing import RandomErasing
from timm.data.transforms import RandomResizedCropAndInterpolation, str_to_pil_interp
from torch import Tensor
from torchvision.transforms import Compose, PILToTensor, RandomHorizontalFlip

from gkd_lightning.data.augment.limits import require_shares, require_size
from gkd_lightning.data.keys import keyed_generators
from gkd_lightning.data.types import Image
from gkd_lightning.errors import UserError


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
        self.config = config
        steps: list[Callable[[Any], Any]] = [
            RandomResizedCropAndInterpolation(size, config.scale, config.ratio, config.interpolation),
            RandomHorizontalFlip(config.flip),
        ]
        if config.rand_augment:
            steps.append(_rand_augment(config, size))
        self._augment = Compose([*steps, PILToTensor()])
        self._erase = RandomErasing(config.erasing, mode=config.erasing_mode, max_count=1, device="cpu")
        self._mean = torch.tensor(config.mean).view(3, 1, 1)
        self._std = torch.tensor(config.std).view(3, 1, 1)

    def __call__(self, image: Image, key: int) -> Tensor:
        """Augment; the global generators are as before afterwards."""
        with keyed_generators(key):
            tensor: Tensor = self._augment(Pillow.fromarray(image))
            # timm erases on an empty canvas: only what it drew there has to leave the normalised space
            drawn: Tensor = self._erase(torch.full(tensor.shape, torch.nan))
        noise = drawn.mul_(self._std).add_(self._mean).mul_(255).round_().clamp_(0, 255)
        return torch.where(noise.isnan(), tensor, noise.nan_to_num_(0).to(torch.uint8))


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
