"""Random resized crops, of images in memory and straight from JPEG files at a reduced size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import ExifTags
from PIL import Image as Pillow
from timm.data.transforms import RandomResizedCropAndInterpolation

from gkd_lightning.data.images import DECODING_ERRORS, opened, read_image, unreadable
from gkd_lightning.data.types import Image

Box = tuple[int, int, int, int]
"""(top, left, height, width) in pixels."""


def draw_crop(height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]) -> Box:
    """The box of timm's random resized crop in an image of this size; draws from `random`."""
    sizes_only = torch.empty(()).expand(1, height, width)
    box: Box = RandomResizedCropAndInterpolation.get_params(sizes_only, scale, ratio)
    return box


def resized_crop(image: Image, box: Box, side: int, resample: int) -> Pillow.Image:
    """`box` of an RGB uint8 (H, W, 3) image, resized to `side` x `side`."""
    top, left, height, width = box
    # cut before Pillow copies it: the same pixels, of which there are half as many on average
    cut = Pillow.fromarray(image[top : top + height, left : left + width])
    return cut.resize((side, side), Pillow.Resampling(resample))


def crop_of_file(path: Path, draw: Callable[[int, int], Box], side: int, resample: int) -> Pillow.Image:
    """A crop for which a JPEG is decoded at 1/2, 1/4 or 1/8 of its size while the crop keeps `side` pixels or more.

    The decoder leaves out the high frequencies that resizing would average away; a few grey levels differ. Other
    formats, rotated files and small crops are decoded whole and give the pixels of `resized_crop`.

    Args:
        draw: from (height, width) of the upright image to the box.

    Raises:
        UserError: as `read_image`.
    """
    box = None
    try:
        with opened(path) as picture:
            if picture.format == "JPEG" and picture.getexif().get(ExifTags.Base.Orientation, 1) == 1:
                width, height = picture.size
                box = draw(height, width)
                reduction = max(by for by in (1, 2, 4, 8) if by == 1 or min(box[2:]) >= by * side)
                done = picture.draft(None, (width // reduction, height // reduction)) if reduction > 1 else None
                if done is not None:
                    by = width / done[1][2]  # as the decoder has chosen it
                    top, left, high, wide = (value / by for value in box)
                    part = (left, top, left + wide, top + high)
                    return picture.convert("RGB").resize((side, side), Pillow.Resampling(resample), box=part)
    except DECODING_ERRORS as error:
        raise unreadable(path, error, "image") from error
    image = read_image(path)
    return resized_crop(image, draw(*image.shape[:2]) if box is None else box, side, resample)
