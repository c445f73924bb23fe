"""Draw the picture of docs/several_teachers.md; the argument is the file to write, docs/images/several_teachers.png."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from gkd_lightning.report.style import ACCENT, GREYS, INK, MUTED, PALE, PAPER, new_figure, picture_axes, png, style

WIDTH, HEIGHT = 9.0, 3.0


def box(axes: Axes, x: float, y: float, width: float, text: str, note: str, accent: bool = False) -> None:
    """A part with its name and what it does, its left edge at `x`."""
    fill, ink, faint = (ACCENT, PAPER, PAPER) if accent else (PALE, INK, MUTED)
    corners = "round,pad=0,rounding_size=0.06"
    axes.add_patch(FancyBboxPatch((x, y - 0.26), width, 0.52, corners, facecolor=fill, edgecolor="none"))
    middle = x + width / 2
    axes.text(middle, y + 0.09, text, ha="center", va="center", weight="bold", color=ink)
    axes.text(middle, y - 0.13, note, ha="center", va="center", fontsize=7, color=faint)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From one part to another."""
    looks = {"arrowstyle": "-|>", "color": GREYS[0], "lw": 1.0, "shrinkA": 1, "shrinkB": 1}
    axes.annotate("", end, start, arrowprops=looks)


def way_of_a_batch(axes: Axes) -> None:
    """Images, encoders, tokens on one grid, objectives, one loss."""
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(0, HEIGHT)
    middle = HEIGHT / 2
    box(axes, 0.1, middle, 0.95, "images", "224 px")
    for name, note, y in (("dinov2", "frozen; 224 px", 2.55), ("siglip2", "frozen; resized to 256 px", 0.45)):
        box(axes, 1.5, y, 1.4, name, note)
        box(axes, 3.3, y, 1.4, "student's grid", "tokens resized to it")
        box(axes, 5.1, y, 1.4, "standardise", "none, PHI-S …")
        arrow(axes, (1.05, middle), (1.5, y))
        arrow(axes, (2.9, y), (3.3, y))
        arrow(axes, (4.7, y), (5.1, y))
        arrow(axes, (6.5, y), (6.75, middle + (0.26 if y > middle else -0.26)))
    box(axes, 1.5, middle, 1.4, "student", "one pass, masks in it", accent=True)
    box(axes, 5.1, middle, 2.2, "an objective for each", "heads, terms and distance of its own")
    box(axes, 7.7, middle, 1.2, "balance", "weights, dropping …")
    arrow(axes, (1.05, middle), (1.5, middle))
    arrow(axes, (2.9, middle), (5.1, middle))
    arrow(axes, (7.3, middle), (7.7, middle))


if __name__ == "__main__":
    with style():
        figure = new_figure(WIDTH, HEIGHT)
        way_of_a_batch(picture_axes(figure, 0.0, 0.0, WIDTH, HEIGHT))
        Path(sys.argv[1]).write_bytes(png(figure))
