"""Stage 2's augmentation as one albumentations pipeline: its own transforms where albumentations' rules differ."""

from __future__ import annotations

from typing import Any

import albumentations
import cv2
import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data.augment.segment import (
    IGNORED,
    IMAGENET_MEAN_PIXEL,
    SegmentAugmentation,
    default_short_edges,
    draw_crop,
    short_edge_size,
)
from gkd_lightning.data.types import Image, Label


def segment_pipeline(config: SegmentAugmentation, size: int) -> albumentations.Compose:
    """Resize, crop, flip, distort, pad to `size`."""
    return albumentations.Compose(
        [
            ShortEdgeResize(config.short_edges or default_short_edges(size), config.longest_edge or 4 * size),
            ClassAwareCrop(size, config.largest_class),
            albumentations.HorizontalFlip(p=config.flip),
            PhotometricDistortion(config),
            albumentations.PadIfNeeded(
                min_height=size,
                min_width=size,
                position="top_left",
                border_mode=cv2.BORDER_CONSTANT,
                fill=IMAGENET_MEAN_PIXEL,
                fill_mask=IGNORED,
            ),
        ],
        strict=True,
    )


class ShortEdgeResize(albumentations.DualTransform):
    """Resize to a drawn short edge: image bilinear without antialiasing (OpenCV), label nearest."""

    def __init__(self, short_edges: tuple[int, ...], longest_edge: int) -> None:
        super().__init__(p=1.0)
        self.short_edges, self.longest_edge = short_edges, longest_edge

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the size."""
        height, width = params["shape"][:2]
        edge = self.py_random.choice(self.short_edges)
        return {"size": short_edge_size(height, width, edge, self.longest_edge)}

    def apply(self, img: Image, size: tuple[int, int], **params: Any) -> Image:
        """Resize the image."""
        return np.asarray(cv2.resize(img, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)

    def apply_to_mask(self, mask: Label, size: tuple[int, int], **params: Any) -> Label:
        """Resize the label, or the codes of segments."""
        return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), dtype=mask.dtype)


class ClassAwareCrop(albumentations.DualTransform):
    """Crop by the rule of `draw_crop`; images smaller than the crop stay as they are."""

    def __init__(self, size: int, largest_class: float) -> None:
        super().__init__(p=1.0)
        self.size, self.largest_class = size, largest_class

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the place."""
        classes = data["mask"].astype(np.uint8)  # of the codes of segments the lowest byte
        return {"box": draw_crop(classes, self.size, self.largest_class, self.py_random.randrange)}

    def apply(self, img: Image, box: tuple[int, int, int, int], **params: Any) -> Image:
        """Crop image or label."""
        top, bottom, left, right = box
        return img[top:bottom, left:right]


class PhotometricDistortion(albumentations.ImageOnlyTransform):
    """Brightness, contrast, saturation, hue, each by chance; contrast comes before or after the other two."""

    def __init__(self, config: SegmentAugmentation) -> None:
        super().__init__(p=1.0)
        self.config = config

    def get_params(self) -> dict[str, Any]:
        """Draw what happens; a factor of 1 and a shift of 0 stand for nothing."""
        config, draw = self.config, self.py_random

        def chance() -> bool:
            return bool(draw.random() < config.distortion)

        return {
            "brightness": draw.uniform(-config.brightness, config.brightness) if chance() else 0.0,
            "contrast_first": draw.random() < 0.5,
            "contrast": draw.uniform(*config.contrast) if chance() else 1.0,
            "saturation": draw.uniform(*config.saturation) if chance() else 1.0,
            "hue": draw.randrange(-config.hue, config.hue) if chance() and config.hue else 0,
        }

    def apply(
        self,
        img: Image,
        brightness: float,
        contrast_first: bool,
        contrast: float,
        saturation: float,
        hue: int,
        **params: Any,
    ) -> Image:
        """Distort an RGB image."""
        img = _scale(img, 1.0, brightness)
        if contrast_first:
            img = _scale(img, contrast)
        if saturation != 1 or hue != 0:
            hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV)
            hsv[..., 1] = _scale(np.ascontiguousarray(hsv[..., 1]), saturation)
            hsv[..., 0] = (hsv[..., 0].astype(np.int16) + hue) % 180
            img = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        return img if contrast_first else _scale(img, contrast)


def _scale(image: NDArray[np.uint8], factor: float, offset: float = 0.0) -> NDArray[np.uint8]:
    """`factor` x image + `offset`, clipped and cut to whole numbers, by a table of the 256 grey levels."""
    if factor == 1 and offset == 0:
        return image
    table = np.clip(np.arange(256, dtype=np.float32) * np.float32(factor) + np.float32(offset), 0, 255)
    return np.asarray(cv2.LUT(image, table.astype(np.uint8)), dtype=np.uint8)
