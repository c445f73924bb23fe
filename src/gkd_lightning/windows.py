"""Which windows cover an image: plain numbers, for the judge and for exports that run without PyTorch."""

from __future__ import annotations

from typing import NamedTuple

Sides = int | tuple[int, int]
"""One number for both sides, or (height, width)."""


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


def sides(value: Sides) -> tuple[int, int]:
    """(height, width)."""
    return (value, value) if isinstance(value, int) else value


def plan_windows(size: tuple[int, int], window: Sides, stride: Sides) -> list[Window]:
    """Windows that cover an image of `size` (height, width), row by row.

    They have the size of `window`, less where the image is smaller; the last of a row or column is shifted back so that
    it ends with the image. Source: mmseg 1.2.2 ``encoder_decoder.py``, lines 241-292.
    """
    rows, columns = (_starts(*each) for each in zip(size, sides(window), sides(stride), strict=True))
    height, width = (min(each) for each in zip(size, sides(window), strict=True))
    return [Window(top, left, height, width) for top in rows for left in columns]


def _starts(side: int, window: int, stride: int) -> list[int]:
    count = max(side - window + stride - 1, 0) // stride + 1
    return [max(min(i * stride, side - window), 0) for i in range(count)]
