"""Two looks at the same place: pieces of an image, whole patches apart, each under a light of its own."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gkd_lightning.distill import keyed_noise
from gkd_lightning.errors import UserError

_STREAM = 0x6C6F6F6B
"""Keeps these draws apart from the augmentation's, which start from the same key; the second look's are one on."""
_GREY = (0.299, 0.587, 0.114)


def two_pieces(images: Tensor, side: int, patch: int, key: int) -> tuple[Tensor, Tensor, list[tuple[slice, slice]]]:
    """Two pieces of every image, and where in their token maps the same places are.

    Args:
        images: (B, 3, H, W).
        side: of a piece, in pixels; pieces start at whole patches.
        patch: of the encoder, in pixels.
        key: of the starts, which all images of a batch share, so that what is shared is a rectangle.

    Returns:
        Two (B, 3, side, side) and two pairs of slices, rows and columns of either map of tokens.

    Raises:
        UserError: an image is no larger than a piece: the same places would be told by their position alone.
    """
    spare = [(length - side) // patch for length in images.shape[-2:]]
    if min(spare) < 1:
        raise UserError(
            f"data.image_size: {images.shape[-2]}x{images.shape[-1]}: two pieces of {side}x{side} pixels, {patch} "
            f"pixels apart or more, need at least {side + patch}x{side + patch}"
        )
    draws = np.random.default_rng((key, _STREAM)).random((3, 2)).tolist()
    apart = [min(room, side // patch // 2) for room in spare]  # half of a piece's height and width is shared, or more
    corner = [int(draw * (room - most + 1)) for draw, room, most in zip(draws[0], spare, apart, strict=True)]
    starts = [
        [start + int(draw * (most + 1)) for start, draw, most in zip(corner, look, apart, strict=True)]
        for look in draws[1:]
    ]
    pieces = [images[..., top * patch : top * patch + side, left * patch : left * patch + side] for top, left in starts]
    shared = []
    for own, other in (starts, starts[::-1]):
        first = [max(b - a, 0) for a, b in zip(own, other, strict=True)]
        last = [side // patch + min(b - a, 0) for a, b in zip(own, other, strict=True)]
        shared.append((slice(first[0], last[0]), slice(first[1], last[1])))
    return pieces[0], pieces[1], shared


def another_light(images: Tensor, keys: Tensor, look: int) -> Tensor:
    """Every image under a light of its own: colours towards grey, gains, haze, gamma, blur and noise.

    Args:
        images: uint8, or float from 0 to 1, (B, 3, H, W).
        keys: int64 (B,); each image's light comes from its own.
        look: another number, another light.

    Returns:
        float32 from 0 to 1, of the same shape.
    """
    pixels = images.float() / 255 if images.dtype == torch.uint8 else images.float()
    draws = keyed_noise(keys, (12,), pixels.device, _STREAM + 1 + 2 * look)[..., None, None]
    grey = torch.tensor(_GREY, device=pixels.device).view(1, 3, 1, 1)
    less = draws[:, 0:1].square()  # of the colours that is lost
    pixels = pixels + less * ((pixels * grey).sum(1, keepdim=True) - pixels)
    pixels = pixels * torch.exp2(2 * draws[:, 1:2] - 1.3 + 0.8 * draws[:, 2:5] - 0.4)
    haze = 0.5 * draws[:, 5:6].square()
    pixels = pixels + haze * (draws[:, 6:9] - pixels)
    pixels = pixels.clamp(0, 1) ** torch.exp2(1.4 * draws[:, 9:10] - 0.7)
    pixels = pixels + draws[:, 10:11].square() * (_blurred(pixels) - pixels)
    strength = 0.1 * draws[:, 11:12].square()
    noise = keyed_noise(keys, tuple(pixels.shape[1:]), pixels.device, _STREAM + 2 + 2 * look)
    return (pixels + strength * (2 * noise - 1) * 3**0.5).clamp(0, 1)


def _blurred(images: Tensor) -> Tensor:
    line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=images.device) / 16
    kernel = torch.outer(line, line).expand(3, 1, 5, 5)
    return F.conv2d(F.pad(images, (2, 2, 2, 2), mode="replicate"), kernel, groups=3)
