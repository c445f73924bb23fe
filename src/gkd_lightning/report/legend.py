"""Colours and names of classes below a picture."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from gkd_lightning.data import LabelSpace
from gkd_lightning.report.style import MUTED, picture_axes

LINE = 0.2
"""Inches from one line to the next."""


def legend_places(space: LabelSpace, width: float) -> list[tuple[float, int]]:
    """(offset, line) of each class name, wrapped at `width`; offsets and widths in inches."""
    places, offset, line = [], 0.0, 0
    for name in space.names:
        step = 0.36 + 0.06 * len(name)
        if offset > 0 and offset + step > width:
            offset, line = 0.0, line + 1
        places.append((offset, line))
        offset += step
    return places


def draw_legend(
    figure: Figure, space: LabelSpace, places: Sequence[tuple[float, int]], left: float, top: float
) -> None:
    """Colours and names of the classes, at their `places`, from `left` and `top` inches on."""
    for name, colour, (offset, line) in zip(space.names, space.palette, places, strict=True):
        axes = picture_axes(figure, left + offset, top + LINE * line, 1, LINE)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, LINE)
        fill = [value / 255 for value in colour]
        box = FancyBboxPatch((0.02, 0.065), 0.07, 0.07, "round,pad=0,rounding_size=0.02", fc=fill, ec="none")
        axes.add_patch(box)
        axes.text(0.14, 0.1, name, va="center_baseline", color=MUTED, size=8)
