"""Which pixels a shape has: those whose centre lies in it.

The centre of the pixel in column c and row r is (c + 0.5, r + 0.5). A polygon's inside is told by the even-odd rule; of
a border that runs through a centre the pixel belongs to the right or lower side. So polygons that share a border share
no pixel and leave none out, which the fills of Pillow and OpenCV, whose borders belong to both sides, do not give; and
since only additions, products and quotients of 64 bit are used, every machine gives the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data.annotations.shapes import COLUMNS, DISC, HOLE, POLYGON, ROWS, Annotations, Part

Mask = NDArray[np.bool_]


class Drawn(NamedTuple):
    """A shape's pixels."""

    shape: int
    rows: slice
    columns: slice
    inside: Mask
    """Of the window."""


def drawn(
    annotations: Annotations, image: int, height: int, width: int, by_area: bool, to_edge: bool = False
) -> Iterator[Drawn]:
    """The shapes of an image from the lowest to the highest: what comes later covers what came before.

    Crowds are the lowest. Of the others those of a higher level are higher, then smaller ones (`by_area`), then those
    that come later in the file.

    Args:
        annotations: of all images.
        image: which one.
        height: of the image, in pixels.
        width: the same.
        by_area: whether smaller shapes lie on larger ones, counted in pixels.
        to_edge: whether corners of polygons are pixels, so that those in the last column or row lie on the edge.
    """
    found = [_drawn(annotations, shape, height, width, to_edge) for shape in annotations.shapes(image)]
    kept = [each for each in found if each is not None]

    def height_of(each: Drawn) -> tuple[bool, int, int]:
        area = int(np.count_nonzero(each.inside)) if by_area else 0
        return not annotations.crowd[each.shape], int(annotations.level[each.shape]), -area

    yield from sorted(kept, key=height_of)


def _drawn(annotations: Annotations, shape: int, height: int, width: int, to_edge: bool) -> Drawn | None:
    parts = annotations.parts(shape)
    size = np.array([width, height], np.float64)
    if annotations.relative:
        parts = [Part(kind, (values.reshape(-1, 2) * size).ravel()) for kind, values in parts]
    if to_edge:
        parts = [_to_edge(part, size) if part.kind in (POLYGON, HOLE) else part for part in parts]
    boxes = np.array([_box(part) for part in parts])
    left, top = np.maximum(boxes[:, :2].min(0), 0)
    right, bottom = np.minimum(boxes[:, 2:].max(0), (width, height))
    if right <= left or bottom <= top:
        return None
    inside = np.zeros((bottom - top, right - left), np.bool_)
    for part in parts:
        pixels = _pixels(part, int(left), int(top), *inside.shape)
        if part.kind == HOLE:
            inside &= ~pixels
        elif len(parts) == 1:
            inside = pixels
        else:
            inside |= pixels
    return Drawn(shape, slice(top, bottom), slice(left, right), inside)


def _to_edge(part: Part, size: NDArray[np.float64]) -> Part:
    corners = part.values.reshape(-1, 2).astype(np.float64)
    last = (corners >= size - 1) & (corners < size)
    return Part(part.kind, np.where(last, size, corners).ravel())


def _box(part: Part) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of pixels beyond which there is none of a part."""
    if part.kind in (ROWS, COLUMNS):
        left, top, width, height = part.values[:4].tolist()
        return left, top, left + width, top + height
    if part.kind == DISC:
        x, y, radius = part.values.astype(np.float64)
        low, high = np.array([x - radius, y - radius]), np.array([x + radius, y + radius])
    else:
        corners = part.values.reshape(-1, 2).astype(np.float64)
        low, high = corners.min(0), corners.max(0)
    (left, top), (right, bottom) = np.floor(low).astype(int), np.ceil(high).astype(int)
    return int(left), int(top), int(right), int(bottom)


def _pixels(part: Part, left: int, top: int, height: int, width: int) -> Mask:
    """The part's pixels (height, width) in a window."""
    if part.kind in (ROWS, COLUMNS):
        return _of_runs(part, left, top, height, width)
    values = part.values.astype(np.float64)
    if part.kind == DISC:
        across = (np.arange(left, left + width) + 0.5 - values[0]) ** 2
        down = (np.arange(top, top + height) + 0.5 - values[1]) ** 2
        return np.asarray(down[:, None] + across <= values[2] * values[2])
    return _of_polygon(values.reshape(-1, 2) - (left, top), height, width)


def _of_polygon(corners: NDArray[np.float64], height: int, width: int) -> Mask:
    begin, end = corners, np.roll(corners, -1, axis=0)
    upward = begin[:, 1] > end[:, 1]  # an edge is walked downwards always, so that both its sides see the same numbers
    upper, lower = np.where(upward[:, None], end, begin), np.where(upward[:, None], begin, end)
    first = np.clip(np.ceil(upper[:, 1] - 0.5), 0, height).astype(np.int64)
    crossed = np.clip(np.ceil(lower[:, 1] - 0.5), 0, height).astype(np.int64) - first
    edge = np.repeat(np.arange(len(corners)), crossed)
    row = np.arange(len(edge)) + np.repeat(first - np.cumsum(crossed) + crossed, crossed)
    (x, y), (x_end, y_end) = upper[edge].T, lower[edge].T
    across = x + (row + 0.5 - y) * (x_end - x) / (y_end - y)
    column = np.clip(np.ceil(across - 0.5), 0, width).astype(np.int64)
    changes = np.zeros(height * (width + 1), np.uint8)  # at every crossing the inside begins or ends
    np.bitwise_xor.at(changes, row * (width + 1) + column, np.uint8(1))
    inside = np.bitwise_xor.accumulate(changes.reshape(height, width + 1), axis=1)
    return inside[:, :width].view(np.bool_)


def _of_runs(part: Part, left: int, top: int, height: int, width: int) -> Mask:
    their_left, their_top, their_width, their_height = part.values[:4].tolist()
    lengths = part.values[4:]
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    by_row = part.kind == ROWS
    theirs = flat.reshape(their_height, their_width) if by_row else flat.reshape(their_width, their_height).T
    inside = np.zeros((height, width), np.bool_)
    rows = slice(max(their_top, top), min(their_top + their_height, top + height))
    columns = slice(max(their_left, left), min(their_left + their_width, left + width))
    inside[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = theirs[
        rows.start - their_top : rows.stop - their_top, columns.start - their_left : columns.stop - their_left
    ]
    return inside
