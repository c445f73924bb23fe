"""Which pixels a shape has: those whose centre lies in it.

The centre of the pixel in column c and row r is (c + 0.5, r + 0.5). A polygon's inside is told by the even-odd rule; of
a border that runs through a centre the pixel belongs to the right or lower side. So polygons that share a border share
no pixel and leave none out, which the fills of Pillow and OpenCV, whose borders belong to both sides, do not give; and
since only additions, products and quotients of 64 bit are used, every machine gives the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data.annotations.shapes import DISC, HOLE, POLYGON, ROWS, Annotations, Part

Mask = NDArray[np.bool_]


class Window(NamedTuple):
    """A part's pixels, as far as they are in the image."""

    left: int
    top: int
    inside: Mask


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
    size = np.array([width, height], np.float64)
    shapes = [(shape, annotations.parts(shape)) for shape in annotations.shapes(image)]
    polygons = [part for _, parts in shapes for part in parts if part.kind in (POLYGON, HOLE)]
    filled = iter(_filled(*_corners(polygons, annotations.relative, to_edge, size), height, width))
    kept = []
    for shape, parts in shapes:
        pieces = [
            (part.kind, next(filled) if part.kind in (POLYGON, HOLE) else _other(part, height, width)) for part in parts
        ]
        kept += _together(shape, pieces)

    def height_of(each: Drawn) -> tuple[bool, int, int]:
        area = int(np.count_nonzero(each.inside)) if by_area else 0
        return not annotations.crowd[each.shape], int(annotations.level[each.shape]), -area

    yield from sorted(kept, key=height_of)


def _together(shape: int, pieces: Sequence[tuple[int, Window]]) -> list[Drawn]:
    """A shape of its parts, in their order; none if it has no pixel."""
    left, top, inside = pieces[0][1]
    if len(pieces) > 1:
        left, top = min(window.left for _, window in pieces), min(window.top for _, window in pieces)
        right = max(window.left + window.inside.shape[1] for _, window in pieces)
        bottom = max(window.top + window.inside.shape[0] for _, window in pieces)
        inside = np.zeros((bottom - top, right - left), np.bool_)
        for kind, window in pieces:
            height, width = window.inside.shape
            target = inside[window.top - top : window.top - top + height, window.left - left :][:, :width]
            np.copyto(target, kind != HOLE, where=window.inside)
    height, width = inside.shape
    return [Drawn(shape, slice(top, top + height), slice(left, left + width), inside)] if inside.size else []


def _corners(
    polygons: Sequence[Part], relative: bool, to_edge: bool, size: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Corners (C, 2) in pixels of all polygons, and how many each has."""
    counts = np.array([len(part.values) // 2 for part in polygons], np.int64)
    corners = np.concatenate([np.zeros(0), *(part.values for part in polygons)]).reshape(-1, 2).astype(np.float64)
    if relative:
        corners = corners * size
    if to_edge:
        corners = np.where((corners >= size - 1) & (corners < size), size, corners)
    return corners, counts


def _filled(corners: NDArray[np.float64], counts: NDArray[np.int64], height: int, width: int) -> Iterator[Window]:
    """The pixels of every polygon. All are filled at once: a picture has hundreds, each of a few numbers."""
    if not len(counts):
        return
    starts = np.cumsum(counts) - counts
    low, high = np.minimum.reduceat(corners, starts), np.maximum.reduceat(corners, starts)
    left, top = np.clip(np.floor(low), 0, (width, height)).astype(np.int64).T
    right, bottom = np.clip(np.ceil(high), 0, (width, height)).astype(np.int64).T
    following = np.arange(1, len(corners) + 1)
    following[starts + counts - 1] = starts
    end = corners[following]
    upward = (corners[:, 1] > end[:, 1])[:, None]  # walked downwards always, so that both sides see the same numbers
    upper, lower = np.where(upward, end, corners), np.where(upward, corners, end)
    polygon = np.repeat(np.arange(len(counts)), counts)
    first = np.clip(np.ceil(upper[:, 1] - 0.5), top[polygon], bottom[polygon]).astype(np.int64)
    crossed = np.clip(np.ceil(lower[:, 1] - 0.5), top[polygon], bottom[polygon]).astype(np.int64) - first
    edge = np.repeat(np.arange(len(corners)), crossed)
    row = np.arange(len(edge)) + np.repeat(first - np.cumsum(crossed) + crossed, crossed)
    (x, y), (x_end, y_end), of = upper[edge].T, lower[edge].T, polygon[edge]
    across = x + (row + 0.5 - y) * (x_end - x) / (y_end - y)
    column = np.clip(np.ceil(across - 0.5), left[of], right[of]).astype(np.int64)
    line, lines = right - left + 1, bottom - top
    begin = np.cumsum(line * lines) - line * lines
    changes = np.zeros(int((line * lines).sum()), np.uint8)  # at every crossing the inside begins or ends
    np.bitwise_xor.at(changes, begin[of] + (row - top[of]) * line[of] + column - left[of], np.uint8(1))
    inside = np.bitwise_xor.accumulate(changes, out=changes).view(np.bool_)  # a line crosses a polygon an even time
    for place, start in enumerate(begin.tolist()):
        shape = int(lines[place]), int(line[place])
        window = inside[start : start + shape[0] * shape[1]].reshape(shape)[:, :-1]
        yield Window(int(left[place]), int(top[place]), window)


def _other(part: Part, height: int, width: int) -> Window:
    """The pixels of what is no polygon."""
    if part.kind == DISC:
        x, y, radius = part.values.astype(np.float64).tolist()
        left, right = (min(max(int(edge), 0), width) for edge in (np.floor(x - radius), np.ceil(x + radius)))
        top, bottom = (min(max(int(edge), 0), height) for edge in (np.floor(y - radius), np.ceil(y + radius)))
        across, down = (np.arange(left, right) + 0.5 - x) ** 2, (np.arange(top, bottom) + 0.5 - y) ** 2
        return Window(left, top, np.asarray(down[:, None] + across <= radius * radius))
    left, top, columns, rows = part.values[:4].tolist()
    lengths = part.values[4:]
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    inside = flat.reshape(rows, columns) if part.kind == ROWS else flat.reshape(columns, rows).T
    left, top = min(left, width), min(top, height)
    return Window(left, top, inside[: height - top, : width - left])
