"""Sliding-window inference: which windows, and the mean of their scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Window(NamedTuple):
    """A rectangle of an image in pixels; `top` and `left` are its first row and column."""

    top: int
    left: int
    height: int
    width: int

    @property
    def area(self) -> tuple[slice, slice]:
        """Index of its rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def plan_windows(size: tuple[int, int], window: int, stride: int) -> list[Window]:
    """Windows that cover an image of `size` (height, width), row by row.

    They have `window` pixels a side, less where the image is smaller; the last of a row or column is shifted
    back so that it ends with the image. Source: mmseg 1.2.2 ``encoder_decoder.py``, lines 241-292.
    """
    rows, columns = (_starts(side, window, stride) for side in size)
    height, width = (min(side, window) for side in size)
    return [Window(top, left, height, width) for top in rows for left in columns]


def _starts(side: int, window: int, stride: int) -> list[int]:
    count = max(side - window + stride - 1, 0) // stride + 1
    return [max(min(i * stride, side - window), 0) for i in range(count)]


@torch.no_grad()
def sliding_scores(images: Tensor, score: Callable[[Tensor], Tensor], window: int, stride: int, batch: int) -> Tensor:
    """Mean score (B, K, H, W) of every pixel of (B, C, H, W) images over the windows that hold it.

    `score` gives (n, K, h, w) for (n, C, h, w) crops, at most `batch` at once; `window` and `stride` are in pixels.
    """
    size = (images.shape[-2], images.shape[-1])
    windows = plan_windows(size, window, stride)
    places = [(image, place) for place in windows for image in range(len(images))]
    total: Tensor | None = None
    count = images.new_zeros(size, dtype=torch.float32)
    for place in windows:
        count[place.area] += 1
    for first in range(0, len(places), batch):
        chosen = places[first : first + batch]
        scores = score(torch.stack([images[image][:, *place.area] for image, place in chosen]))
        if total is None:
            total = scores.new_zeros(len(images), scores.shape[1], *size)
        for (image, place), part in zip(chosen, scores, strict=True):
            total[image][:, *place.area] += part
    assert total is not None
    return total / count
