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
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from PIL import Image as Pillow
from timm.data.auto_augment import RandAugment, rand_augment_transform
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.transforms import str_to_pil_interp
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from gkd_lightning.data.augment.crops import crop_of_file, draw_crop, resized_crop
from gkd_lightning.data.augment.device import augment_batch, supported
from gkd_lightning.data.keys import keyed_generators
from gkd_lightning.data.types import Image
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Ascending, Positive, Share, SomeShare, check_arguments

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
        reduced_decoding: decode JPEG files at 1/2, 1/4 or 1/8 of their size where the crop still has enough pixels.
            Faster for photographs several times the crop's size; changes pixels a little, so it is off in the recipes.
        on_device: flip, RandAugment and erasing run on the training device, in batches, instead of in the workers.
    """

    scale: Annotated[tuple[SomeShare, SomeShare], Ascending()] = (0.08, 1.0)
    ratio: Annotated[tuple[Positive, Positive], Ascending()] = (3 / 4, 4 / 3)
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    flip: Share = 0.5
    rand_augment: str = "rand-m9-mstd0.5-inc1"
    erasing: Share = 0.25
    erasing_mode: Literal["pixel", "rand", "const"] = "pixel"
    mean: tuple[Share, Share, Share] = IMAGENET_DEFAULT_MEAN
    std: tuple[Share, Share, Share] = IMAGENET_DEFAULT_STD
    reduced_decoding: bool = False
    on_device: bool = False

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self))


class DistillTransform:
    """Image (H, W, 3) uint8 and key -> tensor (3, size, size) uint8. The same key gives the same pixels.

    Raises:
        UserError: a RandAugment specification that timm does not understand.
    """

    def __init__(self, config: DistillAugmentation, size: int) -> None:
        self.config, self.size, self._fill = config, size, _fill_of(config)
        self._resample = str_to_pil_interp(config.interpolation)
        self._rand_augment = _rand_augment(config, size) if config.rand_augment else None
        self._recorder = _recorder(config, size) if config.rand_augment and config.on_device else None
        self._mean = torch.tensor(config.mean).view(3, 1, 1)
        self._std = torch.tensor(config.std).view(3, 1, 1)

    def __call__(self, image: Image | Path, key: int) -> Tensor:
        """Augment; the global generators are as before afterwards.

        Args:
            image: RGB uint8 (H, W, 3), or the file of a JPEG, which is then decoded at a reduced size if that suffices.
        """
        with keyed_generators(key):
            picture = self._crop(image)
            if torch.rand(1) < self.config.flip:
                picture = picture.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
            if self._rand_augment is not None:
                picture = self._rand_augment(picture)
            tensor: Tensor = pil_to_tensor(picture)
            erased = draw_erasing(self.size, self.config.erasing, self.config.erasing_mode)
        if erased is not None:
            top, left, noise = erased
            tensor[:, top : top + noise.shape[1], left : left + noise.shape[2]] = self._seen(noise)
        return tensor

    def plan(self, image: Image | Path, key: int) -> dict[str, Any]:
        """The crop alone, and what is drawn for the rest: the same draws as of a call, see `device.augment_batch`.

        Returns:
            `image` uint8 (3, size, size), `flip` bool, `operations` float64 (layers, 2), `erase` int64 (4,), `noise`
            uint8 (3 x height x width of the rectangle,).
        """
        operations: list[tuple[int, float]] = []
        with keyed_generators(key):
            tensor: Tensor = pil_to_tensor(self._crop(image))
            flip = bool(torch.rand(1) < self.config.flip)
            if self._recorder is not None:
                self._recorder(operations)
            erased = draw_erasing(self.size, self.config.erasing, self.config.erasing_mode)
        layers = 0 if self._recorder is None else self._recorder.num_layers
        operations += [(-1, 0.0)] * (layers - len(operations))
        noise = torch.empty(3, 0, 0) if erased is None else erased[2]
        place = (0, 0) if erased is None else erased[:2]
        return {
            "image": tensor,
            "flip": flip,
            "operations": torch.tensor(operations, dtype=torch.float64).view(layers, 2),
            "erase": torch.tensor([*place, *noise.shape[1:]]),
            "noise": self._seen(noise).flatten(),
        }

    def finish(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Carry out the plans of a batch on the device of its images."""
        names = [] if self._rand_augment is None else [operation.name for operation in self._rand_augment.ops]
        return {"image": augment_batch(batch, names, self._fill), "key": batch["key"]}

    def _crop(self, image: Image | Path) -> Pillow.Image:
        draw = partial(draw_crop, scale=self.config.scale, ratio=self.config.ratio)
        if isinstance(image, Path):
            return crop_of_file(image, draw, self.size, self._resample)
        return resized_crop(image, draw(*image.shape[:2]), self.size, self._resample)

    def _seen(self, noise: Tensor) -> Tensor:
        return noise.mul(self._std).add_(self._mean).mul_(255).round_().clamp_(0, 255).to(torch.uint8)


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
        "img_mean": _fill_of(config),
        "interpolation": str_to_pil_interp(config.interpolation),
    }
    try:
        transform: RandAugment = rand_augment_transform(config.rand_augment, parameters)
    except (AssertionError, ValueError) as error:
        raise UserError(
            f"augmentation.rand_augment: timm does not understand {config.rand_augment!r}; "
            "write it like rand-m9-mstd0.5-inc1"
        ) from error
    keep_some_bits(transform)
    return transform


def keep_some_bits(transform: RandAugment) -> None:
    """Keep timm's posterizing from asking for no bits at all, which Pillow refuses; in place."""
    for operation in transform.ops:
        if operation.name.startswith("Posterize"):
            operation.level_fn = partial(_some_bits, operation.level_fn)


def _fill_of(config: DistillAugmentation) -> tuple[int, ...]:
    return tuple(min(255, round(255 * value)) for value in config.mean)


def _recorder(config: DistillAugmentation, size: int) -> RandAugment:
    """timm's RandAugment that appends (operation, argument) to a list in the place of an image.

    Raises:
        UserError: an operation or interpolation that the device does not know.
    """
    transform = _rand_augment(config, size)
    unknown = [operation.name for operation in transform.ops if not supported(operation.name)]
    if unknown or config.interpolation != "bicubic":
        what = f"rand_augment: {unknown[0]}" if unknown else f"interpolation: {config.interpolation}"
        raise UserError(f"augmentation.{what} cannot run on the device; set augmentation.on_device to false")
    for number, operation in enumerate(transform.ops):
        operation.aug_fn = partial(_record, number)
    return transform


def _record(number: int, log: list[tuple[int, float]], *arguments: float, **settings: Any) -> list[tuple[int, float]]:
    log.append((number, float(arguments[0]) if arguments else 0.0))
    return log


def _some_bits(level: Callable[..., tuple[int]], magnitude: float, settings: dict[str, Any]) -> tuple[int]:
    # At full magnitude timm asks for 0 bits: a black image in older releases of Pillow, an error in newer ones.
    return (max(1, level(magnitude, settings)[0]),)
