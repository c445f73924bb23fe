"""The record of how images were resized and labels read for an evaluation, and the resizing itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from gkd_lightning.data.types import Image
from gkd_lightning.errors import UserError, nearest
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
        import cv2  # here alone: exports are resized without it

        height, width = image.shape[:2]
        size = self.image_size(width, height)
        if size == (width, height):
            return image
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def fitted_size(width: int, height: int, box: tuple[int, int]) -> tuple[int, int]:
    """(width, height) scaled so that the long edge fits the box's long edge and the short edge its short one."""
    scale = min(max(box) / max(width, height), min(box) / min(width, height))
    return int(width * scale + 0.5), int(height * scale + 0.5)


def protocol_for(record: Mapping[str, Any], domain: str | None = None) -> Protocol:
    """How an image has to be resized for a segmenter: as it was judged; before that, as its training validates.

    Args:
        record: that of a segmenter or of an export.
        domain: one of those it was judged on; needed where they were judged by different rules.

    Raises:
        UserError: no such domain, or one is needed.
    """
    judged = dict(record.get("judged") or {})
    if domain is not None and domain not in judged:
        names = ", ".join(judged) or "none yet"
        raise UserError(f"--domain {domain}: the segmenter was not judged on it{nearest(domain, judged)} ({names})")
    rules = [judged[domain]] if domain is not None else list(judged.values()) or [record.get("protocol") or {}]
    found = {Protocol(resize=rule.get("resize", "none"), size=rule.get("size")) for rule in rules}
    if len(found) > 1:
        raise UserError(
            "--domain: this segmenter's domains were judged by different rules of resizing, say which of them your "
            f"images are like: {', '.join(judged)}"
        )
    return found.pop()
