"""Attention maps of chosen query patches: the image with the queries marked, a map over the teacher's grid for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from gkd_lightning.data import Image
from gkd_lightning.report.style import ACCENT, INK, MUTED, PAPER, new_figure, picture_axes, png, style

CELL, GAP, LINE = 1.45, 0.07, 0.2  # inches
Map = NDArray[np.float32]


@dataclass(frozen=True)
class AttentionRow:
    """One image.

    Attributes:
        domain: where it is from.
        image: uint8 (H, W, 3).
        queries: row and column of each query patch.
        attention: (rows, columns) attention of each query over the teacher's tokens.
        similarity: cosine of the teacher's token at the query to all its tokens, same shape.
    """

    domain: str
    image: Image
    queries: Sequence[tuple[int, int]]
    attention: Sequence[Map]
    similarity: Sequence[Map]


def attention_png(rows: Sequence[AttentionRow], grid: tuple[int, int], title: str) -> bytes:
    """One line per image: queries, then for every query the student's attention beside the teacher's own similarity.

    Attention is drawn from 0 to its own maximum, which is written below in percent of the whole. Similarity is drawn
    from its lowest to its highest value, the query itself left aside, and both are written below.
    """
    most = max(len(row.queries) for row in rows)
    height_of = [CELL * row.image.shape[0] / row.image.shape[1] for row in rows]
    side = 0.25 + 0.07 * max(len(row.domain) for row in rows)
    pair = 2 * CELL + GAP
    width = side + CELL + most * (pair + 3 * GAP) + 0.15
    head = 3 * LINE + 0.1
    with style():
        figure = new_figure(width, head + sum(height_of) + len(rows) * (LINE + GAP) + 0.1)
        heading = picture_axes(figure, 0.1, 0.06, width - 0.2, LINE)
        heading.text(0, 1, f"QSD attention over the teacher's tokens: {title}", va="top", weight="bold", size=9.5)
        for column in range(most):
            left = side + CELL + 3 * GAP + column * (pair + 3 * GAP)
            _over(picture_axes(figure, left, LINE + 0.1, pair, LINE), f"query {column + 1}", INK, "bold")
            _over(picture_axes(figure, left, 2 * LINE + 0.1, CELL, LINE), "student looks at", ACCENT)
            _over(picture_axes(figure, left + CELL + GAP, 2 * LINE + 0.1, CELL, LINE), "teacher finds alike", MUTED)
        _over(picture_axes(figure, side, 2 * LINE + 0.1, CELL, LINE), "image", MUTED)
        top = head
        for row, height in zip(rows, height_of, strict=True):
            label = picture_axes(figure, 0, top, side - 0.1, height)
            label.text(1, 0.5, row.domain, ha="right", va="center", color=INK)
            _queries(picture_axes(figure, side, top, CELL, height), row, grid)
            for column, place in enumerate(row.queries):
                left = side + CELL + 3 * GAP + column * (pair + 3 * GAP)
                attention, similarity = row.attention[column], row.similarity[column]
                others = np.delete(similarity.ravel(), place[0] * grid[1] + place[1])
                low, high = float(others.min()), float(others.max())
                drawn = (
                    (0.0, attention / max(float(attention.max()), 1e-12), f"peak {100 * attention.max():.1f} %"),
                    (CELL + GAP, (similarity - low) / max(high - low, 1e-12), f"cosine {low:.2f} to {high:.2f}"),
                )
                for offset, strength, text in drawn:
                    _map(picture_axes(figure, left + offset, top, CELL, height), row.image, strength, place)
                    note = picture_axes(figure, left + offset, top + height, CELL, LINE)
                    note.text(0, 0.5, text.replace("-", "−"), va="center", color=MUTED, size=7.5)
            top += height + LINE + GAP
        return png(figure)


def _over(axes: Axes, text: str, colour: str, weight: str = "normal") -> None:
    axes.text(0, 0.3, text, color=colour, weight=weight, va="baseline")


def _queries(axes: Axes, row: AttentionRow, grid: tuple[int, int]) -> None:
    axes.imshow(row.image, aspect="auto", extent=(0, grid[1], grid[0], 0))
    for number, (line, column) in enumerate(row.queries, start=1):
        _mark(axes, (line, column))
        middle = (column + 0.5, line + (1.9 if line < 2 else -0.9))
        box = {"boxstyle": "round,pad=0.12", "fc": ACCENT, "ec": "none"}
        axes.text(*middle, str(number), ha="center", va="center", color=PAPER, size=7.5, weight="bold", bbox=box)


def _map(axes: Axes, image: Image, strength: Map, place: tuple[int, int]) -> None:
    rows, columns = strength.shape
    extent = (0, columns, rows, 0)
    grey = image.astype(np.float32).mean(2) * 0.35
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255, aspect="auto", extent=extent)
    axes.imshow(strength, cmap="inferno", vmin=0, vmax=1, alpha=0.8, aspect="auto", extent=extent)
    _mark(axes, place)


def _mark(axes: Axes, place: tuple[int, int]) -> None:
    line, column = place
    axes.add_patch(Rectangle((column, line), 1, 1, fill=False, ec=PAPER, lw=2.4))
    axes.add_patch(Rectangle((column, line), 1, 1, fill=False, ec=ACCENT, lw=1.2))
