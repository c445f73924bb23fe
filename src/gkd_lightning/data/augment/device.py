"""Flip, RandAugment and erasing of whole batches on the training device, for loaders that cannot keep up.

A worker decodes, crops and writes down what it drew (`Plan`); the device does the rest, in Pillow's arithmetic. Flip,
erasing and all colour operations give the worker's pixels on the CPU; warps differ by at most one grey level in single
pixels, where a product is rounded otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

Colour = Callable[[Tensor, Tensor], Tensor]
"""uint8 (b, 3, S, S) and float64 (b,) arguments -> uint8 (b, 3, S, S)."""


def collate_plans(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack; the noise of erased rectangles, which have many sizes, stays one flat tensor."""
    noise = torch.cat([sample["noise"] for sample in samples])
    rest = default_collate([{name: value for name, value in one.items() if name != "noise"} for one in samples])
    return {**rest, "noise": noise}


def augment_batch(batch: dict[str, Any], names: Sequence[str], fill: Sequence[int]) -> Tensor:
    """What the workers left to do.

    Args:
        batch: `image` uint8 (B, 3, S, S) and `noise` uint8 (n,) on the device; on the host `flip` bool (B,),
            `operations` float64 (B, layers, 2) of operation (-1 for none) and argument, and `erase` int64 (B, 4) of
            top, left, height, width (height 0 for none).
        names: timm's name of every operation.
        fill: RGB of what a warp brings in from outside.

    Returns:
        uint8 (B, 3, S, S).
    """
    images: Tensor = batch["image"].clone()
    flipped = batch["flip"].nonzero().flatten().to(images.device)
    images[flipped] = images[flipped].flip(-1)
    for layer in batch["operations"].unbind(1):
        for number in layer[:, 0].unique().tolist():
            if number >= 0:
                chosen = (layer[:, 0] == number).nonzero().flatten()
                where, arguments = chosen.to(images.device), layer[chosen, 1].to(images.device)
                images[where] = _apply(names[int(number)], images[where], arguments, fill)
    start = 0
    for image, (top, left, height, width) in zip(images, batch["erase"].tolist(), strict=True):
        if height:
            noise = batch["noise"][start : start + 3 * height * width].view(3, height, width)
            image[:, top : top + height, left : left + width] = noise
            start += noise.numel()
    return images


def _apply(name: str, images: Tensor, arguments: Tensor, fill: Sequence[int]) -> Tensor:
    kind = name.removesuffix("Increasing").removesuffix("Original")
    if kind in _COLOURS:
        return _COLOURS[kind](images, arguments)
    return _warp(images, _WARPS[kind](arguments, images.shape[-1]), fill)


def supported(name: str) -> bool:
    """Whether an operation of timm's can run here."""
    return name.removesuffix("Increasing").removesuffix("Original") in {*_COLOURS, *_WARPS}


def _ramp(images: Tensor) -> Tensor:
    return torch.arange(256, device=images.device)


def _look_up(images: Tensor, tables: Tensor) -> Tensor:
    """Tables (b, 1 or 3, 256) of grey levels."""
    levels = tables.clamp(0, 255).to(torch.uint8).expand(-1, 3, -1)
    return levels.gather(2, images.flatten(2).long()).view_as(images)


def _blend(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """`start` + `share` x (`end` - `start`) in single precision, clipped and cut as Pillow does."""
    first, factor = start.float(), share.float().view(-1, *[1] * (end.ndim - 1))
    return (first + factor * (end.float() - first)).clamp(0, 255).floor()


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.to(torch.int32).split(1, dim=1)
    weighed: Tensor = 19595 * red + 38470 * green + 7471 * blue + 0x8000
    return weighed >> 16


def _histograms(images: Tensor) -> Tensor:
    """int64 (b, 3, 256)."""
    channels = torch.arange(images.shape[0] * 3, device=images.device).view(-1, 3, 1)
    places = images.flatten(2).long() + 256 * channels
    return torch.bincount(places.flatten(), minlength=256 * channels.numel()).view(-1, 3, 256)


def _auto_contrast(images: Tensor, _: Tensor) -> Tensor:
    low, high = (edge.double().unsqueeze(2) for edge in images.flatten(2).aminmax(dim=2))
    scale = 255.0 / (high - low)
    stretched = (_ramp(images) * scale - low * scale).trunc()
    return _look_up(images, torch.where(high > low, stretched, _ramp(images).double()))


def _equalize(images: Tensor, _: Tensor) -> Tensor:
    counts = _histograms(images)
    last = counts.gather(2, images.flatten(2).amax(dim=2, keepdim=True).long())
    step = (counts.sum(2, keepdim=True) - last) // 255
    before = counts.cumsum(2) - counts + step // 2
    flat = (step == 0) | ((counts > 0).sum(2, keepdim=True) <= 1)
    return _look_up(images, torch.where(flat, _ramp(images), before // step.clamp(min=1)))


def _posterize(images: Tensor, bits: Tensor) -> Tensor:
    lost = (2 ** (8 - bits.clamp(max=8)).long()).view(-1, 1, 1)
    return _look_up(images, _ramp(images) // lost * lost)


def _solarize(images: Tensor, threshold: Tensor) -> Tensor:
    ramp = _ramp(images)
    return _look_up(images, torch.where(ramp < threshold.view(-1, 1, 1), ramp, 255 - ramp))


def _solarize_add(images: Tensor, added: Tensor) -> Tensor:
    ramp = _ramp(images)
    return _look_up(images, torch.where(ramp < 128, ramp + added.long().view(-1, 1, 1), ramp))


def _brightness(images: Tensor, factor: Tensor) -> Tensor:
    ramp = _ramp(images).expand(len(images), 1, 256)
    return _look_up(images, _blend(torch.zeros_like(ramp), ramp, factor))


def _contrast(images: Tensor, factor: Tensor) -> Tensor:
    mean = (_grey(images).double().mean(dim=(2, 3)) + 0.5).floor().unsqueeze(2)
    return _look_up(images, _blend(mean, _ramp(images).expand(len(images), 1, 256), factor))


def _colour(images: Tensor, factor: Tensor) -> Tensor:
    return _blend(_grey(images), images, factor).to(torch.uint8)


def _sharpness(images: Tensor, factor: Tensor) -> Tensor:
    levels = images.to(torch.int32)
    rows = levels[..., :-2, :] + levels[..., 1:-1, :] + levels[..., 2:, :]
    around = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * levels[..., 1:-1, 1:-1]
    smooth = images.clone()  # the frame of one pixel stays
    smooth[..., 1:-1, 1:-1] = (2 * around + 13).div(26, rounding_mode="floor").to(torch.uint8)
    return _blend(smooth, images, factor).to(torch.uint8)


_COLOURS: dict[str, Colour] = {
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
    "Invert": lambda images, _: 255 - images,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "SolarizeAdd": _solarize_add,
    "Color": _colour,
    "Contrast": _contrast,
    "Brightness": _brightness,
    "Sharpness": _sharpness,
}


def _affine(first: Tensor, *others: Tensor | float) -> Tensor:
    """(b, 6): x' = m0 x + m1 y + m2, y' = m3 x + m4 y + m5, from output to input."""
    return torch.stack([torch.zeros_like(first) + value for value in (first, *others)], dim=1)


def _rotation(degrees: Tensor, side: int) -> Tensor:
    angle = -degrees * (math.pi / 180)
    cos, sin, middle = angle.cos(), angle.sin(), side / 2
    return _affine(cos, sin, middle - middle * (cos + sin), -sin, cos, middle - middle * (cos - sin))


_WARPS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "Rotate": _rotation,
    "ShearX": lambda factor, side: _affine(torch.ones_like(factor), factor, 0.0, 0.0, 1.0, 0.0),
    "ShearY": lambda factor, side: _affine(torch.ones_like(factor), 0.0, 0.0, factor, 1.0, 0.0),
    "TranslateXRel": lambda share, side: _affine(torch.ones_like(share), 0.0, share * side, 0.0, 1.0, 0.0),
    "TranslateYRel": lambda share, side: _affine(torch.ones_like(share), 0.0, 0.0, 0.0, 1.0, share * side),
}


def _warp(images: Tensor, matrices: Tensor, fill: Sequence[int]) -> Tensor:
    """Bicubic, as Pillow's `transform`: the cubic with slope -1, cut to whole levels; `fill` outside the image."""
    count, _, side, _ = images.shape
    centres = torch.arange(side, device=images.device, dtype=matrices.dtype) + 0.5
    m0, m1, m2, m3, m4, m5 = (column.view(-1, 1, 1) for column in matrices.unbind(1))
    across, down = centres.view(1, 1, -1), centres.view(1, -1, 1)
    x, y = m0 * across + m1 * down + m2, m3 * across + m4 * down + m5
    inside = ((x >= 0) & (x < side) & (y >= 0) & (y < side)).unsqueeze(1)
    left, top = (x - 0.5).floor(), (y - 0.5).floor()
    beside, below = (((x - 0.5) - left).float().unsqueeze(1), ((y - 0.5) - top).float().unsqueeze(1))
    flat = images.flatten(2).float()

    def row(offset: int) -> Tensor:
        line = (top.long() + offset).clamp(0, side - 1) * side
        places = [(line + (left.long() + step).clamp(0, side - 1)).view(count, 1, -1) for step in (-1, 0, 1, 2)]
        return _cubic([flat.gather(2, place.expand(-1, 3, -1)).view(images.shape) for place in places], beside)

    warped = _cubic([row(offset) for offset in (-1, 0, 1, 2)], below).clamp(0, 255).floor().to(torch.uint8)
    outside = torch.tensor(fill, device=images.device, dtype=torch.uint8).view(1, 3, 1, 1)
    return torch.where(inside, warped, outside)


def _cubic(values: Sequence[Tensor], at: Tensor) -> Tensor:
    before, first, second, after = values
    slope, bend = second - before, 2 * (before - first) + second - after
    return first + at * (slope + at * (bend + at * (first - before + after - second)))
