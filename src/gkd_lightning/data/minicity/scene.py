"""The stage on which objects are put: a one-point perspective, the canvas, shadows, lights and depths.

All is drawn with integers: without anti-aliasing and library rasteriser no pixel can depend on a build of OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data.minicity.draws import Draws
from gkd_lightning.data.minicity.parts import LABEL_OF, PARTS

SIZE = 96
"""Height and width of every MiniCity image."""
_RAMP = np.arange(SIZE, dtype=np.int32)
FOCAL = 80
"""Focal length in pixels: a field of view of 62 degrees."""
MAX_SCALE = 16 * 128
NO_SHADOW, CONTACT_SHADOW, CAST_SHADOW = 0, 1, 2
Range = tuple[int, int]
FAR = 255
"""Depth of the sky; other depths are in steps of 25 cm, at most 254."""


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
        _trapezoid(self.code, y0, y1, top, bottom, code)

    def columns(self, x0: int, x1: int, left: tuple[int, int], right: tuple[int, int], code: int) -> None:
        """Trapezoid with vertical edges: from rows [left) at column x0 to [right) at the last column, x1 - 1."""
        _trapezoid(self.code.T, x0, x1, left, right, code)


def _trapezoid(
    rows: NDArray[np.uint16], y0: int, y1: int, top: tuple[int, int], bottom: tuple[int, int], code: int
) -> None:
    first, last, height = max(y0, 0), min(y1, SIZE), max(y1 - 1 - y0, 1)
    left, right = max(min(top[0], bottom[0]), 0), min(max(top[1], bottom[1]), SIZE)
    if first >= last or left >= right:
        return
    step = _RAMP[first:last, None] - y0
    start = top[0] + (bottom[0] - top[0]) * step // height
    stop = top[1] + (bottom[1] - top[1]) * step // height
    x = _RAMP[None, left:right]
    rows[first:last, left:right][(x >= start) & (x < stop)] = code


class View:
    """Where a point of the street lands in the image.

    A ground point is given by its sideways distance X (cm, to the right) and its `scale`: sixteenths of a pixel
    that the ground lies below the horizon there, so one camera height is `scale / 16` pixels tall at that place.
    """

    def __init__(self, horizon: int, vanishing: int, camera: int, bend: int = 0) -> None:
        self.horizon, self.vanishing, self.camera = horizon, vanishing, camera
        scale = np.maximum(np.arange(MAX_SCALE, dtype=np.int64), 80)
        self.bend: NDArray[np.int64] = bend * 16 // scale - bend * 16 // (16 * 48)
        """Sideways shift in pixels of a curved street, by scale."""
        self._bend: list[int] = self.bend.tolist()

    def scale(self, distance: int) -> int:
        """Scale at a distance in cm."""
        return min(max(16 * FOCAL * self.camera // max(distance, 1), 16), MAX_SCALE - 1)

    def distance(self, scale: int) -> int:
        """Distance in cm at a scale."""
        return 16 * FOCAL * self.camera // max(scale, 1)

    def x(self, sideways: int, scale: int) -> int:
        """Column of a point `sideways` cm to the right."""
        return self.vanishing + self._bend[scale] + sideways * scale // (16 * self.camera)

    def y(self, height: int, scale: int) -> int:
        """Row of a point `height` cm above the ground."""
        return self.horizon + (self.camera - height) * scale // (16 * self.camera)

    def pixels(self, length: int, scale: int, least: int = 1) -> int:
        """Pixels that `length` cm take up."""
        return max(length * scale // (16 * self.camera), least)


@dataclass(frozen=True)
class Layout:
    """Geometry of one image, without a colour. Arrays are (96, 96).

    `code`: instance * PARTS + part. `depth`: steps of 25 cm, 255 = sky. `texture_x`, `texture_y`: texel of a
    surface texture, modulo 256. `shadow`: NO_SHADOW, CONTACT_SHADOW or CAST_SHADOW, meant for the ground.
    `lights`: (n, 3) column, row and radius of the lamps. `sun`: -1 = light comes from the left, +1 = right.
    """

    code: NDArray[np.uint16]
    depth: NDArray[np.uint8]
    texture_x: NDArray[np.uint8]
    texture_y: NDArray[np.uint8]
    shadow: NDArray[np.uint8]
    lights: NDArray[np.int32]
    instances: int
    sun: int

    @property
    def label(self) -> NDArray[np.uint8]:
        """(96, 96) class ids."""
        label: NDArray[np.uint8] = LABEL_OF[self.code & (PARTS - 1)]
        return label


class Scene:
    """A layout in the making. Objects are drawn from far to near."""

    def __init__(self, view: View, draws: Draws) -> None:
        self.view, self.draws = view, draws
        self.canvas = Canvas()
        self.shadow = Canvas(NO_SHADOW)
        self.sun = -1 if draws.chance(50) else 1
        self.lights: list[tuple[int, int, int]] = []
        self.depths: list[int] = [0]  # by instance; 0 = the pixel's own depth in `ground_depth` counts
        self.ground_depth = np.full((SIZE, SIZE), FAR, np.uint8)
        self.texture_x = np.broadcast_to(np.arange(SIZE, dtype=np.uint8), (SIZE, SIZE)).copy()
        self.texture_y = np.broadcast_to(np.arange(SIZE, dtype=np.uint8)[:, None], (SIZE, SIZE)).copy()

    def instance(self, scale: int | None) -> int:
        """A new instance's first code; `scale` None = its pixels carry their own depth."""
        self.depths.append(0 if scale is None else min(self.view.distance(scale) // 25 + 1, 254))
        return (len(self.depths) - 1) * PARTS

    def box(self, code: int, x: Range, y: Range, z: Range, parts: tuple[int, ...]) -> None:
        """The visible faces of an upright box; `parts` = end, left side, right side, top (cm everywhere)."""
        view, canvas = self.view, self.canvas
        near, far = view.scale(z[0]), view.scale(z[1])
        end, left, right, top = (code + part for part in parts)
        x0, x1, far0, far1 = view.x(x[0], near), view.x(x[1], near), view.x(x[0], far), view.x(x[1], far)
        roof, floor, far_roof, far_floor = view.y(y[1], near), view.y(y[0], near), view.y(y[1], far), view.y(y[0], far)
        if x1 < far1:
            canvas.columns(x1, far1, (roof, floor), (far_roof, far_floor), right)
        if far0 < x0:
            canvas.columns(far0, x0, (far_roof, far_floor), (roof, floor), left)
        if far_roof < roof:
            canvas.rows(far_roof, roof, (far0, far1), (x0, x1), top)
        canvas.rect(x0, roof, x1, floor, end)

    def cast(self, x0: int, x1: int, row: int, depth: int, length: int) -> None:
        """Shadow on the ground of something standing on columns [x0, x1) of `row`, `depth` rows thick."""
        self.shadow.rect(x0, row - depth, x1, row + max(depth // 2, 1), CONTACT_SHADOW)
        reach = -self.sun * length
        foot = max(depth, 2)
        left, right = (x1, x1 + reach) if reach > 0 else (x0 + reach, x0)
        self.shadow.rect(left, row - foot, right, row + max(foot // 3, 1), CAST_SHADOW)

    def finish(self) -> Layout:
        """Freeze what was drawn."""
        instance_depth = np.array(self.depths, np.uint8)[self.canvas.code >> 6]
        depth = np.where(instance_depth > 0, instance_depth, self.ground_depth)
        lights = np.array(self.lights, np.int32).reshape(-1, 3)
        return Layout(
            self.canvas.code, depth, self.texture_x, self.texture_y, self.shadow.code.astype(np.uint8),
            lights, len(self.depths), self.sun,
        )  # fmt: skip
