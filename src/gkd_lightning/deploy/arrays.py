"""Bilinear resizing in NumPy, for exports that run without PyTorch and OpenCV."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_UNIT = 2048  # OpenCV's weights are whole numbers of this
Scores = NDArray[np.float32]
Picture = NDArray[np.uint8]


def resized_picture(picture: Picture, size: tuple[int, int]) -> Picture:
    """uint8 (H, W, 3) to `size` (width, height), bilinear without antialiasing, in whole numbers as OpenCV does it.

    A few values in a thousand differ from OpenCV's, by 1.
    """
    width, height = size
    rows, columns = picture.shape[:2]
    if (rows, columns) == (height, width):
        return picture
    if (rows, columns) == (2 * height, 2 * width):  # OpenCV takes the mean there
        sums = picture.reshape(height, 2, width, 2, -1).astype(np.int32).sum((1, 3))
        return np.asarray((sums + 2) >> 2, np.uint8)
    (left, right, share_x), (top, bottom, share_y) = _neighbours(width, columns), _neighbours(height, rows)
    by_column, by_row = (np.rint(share * _UNIT).astype(np.int32) for share in (share_x, share_y))
    wide = picture.astype(np.int32)
    lines = wide[:, left] * (_UNIT - by_column)[:, None] + wide[:, right] * by_column[:, None]
    upper = ((_UNIT - by_row)[:, None, None] * (lines[top] >> 4)) >> 16
    lower = (by_row[:, None, None] * (lines[bottom] >> 4)) >> 16
    return np.asarray((upper + lower + 2) >> 2, np.uint8)


def resized_scores(scores: Scores, size: tuple[int, int]) -> Scores:
    """float32 (B, K, h, w) to `size` (height, width), as PyTorch's `interpolate` (bilinear, align_corners=False)."""
    if scores.shape[-2:] == size:
        return scores
    (top, bottom, share_y), (left, right, share_x) = (
        _neighbours(new, old) for new, old in zip(size, scores.shape[-2:], strict=True)
    )
    lines = scores[..., left] * (1 - share_x) + scores[..., right] * share_x
    return np.asarray(
        lines[..., top, :] * (1 - share_y)[:, None] + lines[..., bottom, :] * share_y[:, None], np.float32
    )


def nearest_ids(ids: Picture, size: tuple[int, int]) -> Picture:
    """uint8 (B, h, w) to `size` (height, width), each pixel as the nearest one."""
    rows, columns = (
        ((np.arange(new) + 0.5) * (old / new)).astype(np.int64) for new, old in zip(size, ids.shape[1:], strict=True)
    )
    return ids[:, rows][:, :, columns]


def _neighbours(new: int, old: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Of each new place the two old ones around it, and the share of the second."""
    place = ((np.arange(new) + 0.5) * (old / new) - 0.5).clip(0, old - 1)
    first = np.floor(place).astype(np.int64)
    return first, np.minimum(first + 1, old - 1), (place - first).astype(np.float32)
