"""Drawing with integers only: rectangles, trapezoids and ellipses into arrays of codes.

No anti-aliasing and no library rasteriser, so a pixel's code cannot depend on a build of OpenCV.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SIZE = 96
"""Height and width of every MiniCity image."""
_RAMP = np.arange(SIZE, dtype=np.int32)


@lru_cache(maxsize=4096)
def _disc(width: int, height: int) -> NDArray[np.bool_]:
    """(height, width) mask of the pixels whose centre lies in the inscribed ellipse."""
    x = 2 * np.arange(width, dtype=np.int64) + 1 - width
    y = 2 * np.arange(height, dtype=np.int64) + 1 - height
    mask: NDArray[np.bool_] = (x * x)[None] * height**2 + (y * y)[:, None] * width**2 <= width**2 * height**2
    return mask


class Canvas:
    """(SIZE, SIZE) codes; every method paints over what was there. Right and lower ends are excluded."""

    def __init__(self, code: int = 0) -> None:
        self.code: NDArray[np.uint16] = np.full((SIZE, SIZE), code, np.uint16)

    def rect(self, x0: int, y0: int, x1: int, y1: int, code: int) -> None:
        """Fill [x0, x1) × [y0, y1)."""
        self.code[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = code

    def ellipse(self, x0: int, y0: int, x1: int, y1: int, code: int) -> None:
        """Fill the ellipse inscribed in [x0, x1) × [y0, y1)."""
        left, top, right, low = max(x0, 0), max(y0, 0), min(x1, SIZE), min(y1, SIZE)
        if left < right and top < low:
            mask = _disc(x1 - x0, y1 - y0)[top - y0 : low - y0, left - x0 : right - x0]
            self.code[top:low, left:right][mask] = code

    def rows(self, y0: int, y1: int, top: tuple[int, int], bottom: tuple[int, int], code: int) -> None:
        """Trapezoid with horizontal edges: from [top) at row y0 to [bottom) at the last row, y1 - 1."""
        first, last, height = max(y0, 0), min(y1, SIZE), max(y1 - 1 - y0, 1)
        left, right = max(min(top[0], bottom[0]), 0), min(max(top[1], bottom[1]), SIZE)
        if first >= last or left >= right:
            return
        step = _RAMP[first:last, None] - y0
        start = top[0] + (bottom[0] - top[0]) * step // height
        stop = top[1] + (bottom[1] - top[1]) * step // height
        x = _RAMP[None, left:right]
        self.code[first:last, left:right][(x >= start) & (x < stop)] = code

    def columns(self, x0: int, x1: int, left: tuple[int, int], right: tuple[int, int], code: int) -> None:
        """Trapezoid with vertical edges: from rows [left) at column x0 to [right) at the last column, x1 - 1."""
        first, last, width = max(x0, 0), min(x1, SIZE), max(x1 - 1 - x0, 1)
        top, low = max(min(left[0], right[0]), 0), min(max(left[1], right[1]), SIZE)
        if first >= last or top >= low:
            return
        step = _RAMP[None, first:last] - x0
        start = left[0] + (right[0] - left[0]) * step // width
        stop = left[1] + (right[1] - left[1]) * step // width
        y = _RAMP[top:low, None]
        self.code[top:low, first:last][(y >= start) & (y < stop)] = code
