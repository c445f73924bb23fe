"""The record of how images were resized and labels read for an evaluation, and the resizing itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import cv2
import numpy as np

from gkd_lightning.data.types import Image
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Pixels, check_arguments


@dataclass(frozen=True)
class Protocol:
    """How a domain is evaluated. It is stored with every result; numbers of different protocols do not compare.

    Args:
        resize: `none` keeps the image; `fit` scales it, keeping its shape, to lie within `size`, turned
            upright if the image is; `exact` stretches it to `size`. Bilinear without antialiasing (OpenCV).
        size: [width, height] for `fit` and `exact`.
        label_resolution: scores are compared with labels of their own size.
        split: which part of the data set, for the record.
        id_map: name of the label mapping, for the record.

    Raises:
        UserError: `size` missing, or given although it is not used.
    """

    resize: Literal["none", "fit", "exact"] = "none"
    size: tuple[Pixels, Pixels] | None = None
    label_resolution: Literal["native"] = "native"
    split: str = ""
    id_map: str = ""

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self))
        if (self.resize == "none") != (self.size is None):
            advice = "remove size" if self.resize == "none" else "give size: [width, height]"
            raise UserError(f"protocol: resize is {self.resize!r} but size is {self.size}; {advice}")
        if self.size is not None:
            object.__setattr__(self, "size", tuple(self.size))  # a list when it comes from JSON

    def asdict(self) -> dict[str, Any]:
        """Plain types, as results.json stores it."""
        record = asdict(self)
        record["size"] = None if self.size is None else list(self.size)
        return record

    def image_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of an image of that size after resizing."""
        if self.size is None:
            return width, height
        return fitted_size(width, height, self.size) if self.resize == "fit" else self.size

    def resized(self, image: Image) -> Image:
        """The image (H, W, 3) uint8 as the model sees it."""
        height, width = image.shape[:2]
        size = self.image_size(width, height)
        if size == (width, height):
            return image
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def fitted_size(width: int, height: int, box: tuple[int, int]) -> tuple[int, int]:
    """(width, height) scaled so that the long edge fits the box's long edge and the short edge its short one."""
    scale = min(max(box) / max(width, height), min(box) / min(width, height))
    return int(width * scale + 0.5), int(height * scale + 0.5)
