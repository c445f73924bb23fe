"""Images side by side as one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from gkd_lightning.data import Image, LabelSpace
from gkd_lightning.report.legend import LINE, draw_legend, legend_places
from gkd_lightning.report.style import ACCENT, INK, MUTED, new_figure, picture_axes, png, style

GAP, HEAD = 0.06, 0.3  # inches: between cells, above the columns


@dataclass(frozen=True)
class Grid:
    """Pictures in rows and columns, all lengths in inches; a missing picture leaves a gap."""

    rows: Sequence[Sequence[Image | None]]
    names: Sequence[str]
    headings: Sequence[str]
    cell: float = 1.6
    accent: int | None = None  # column whose heading gets the accent
    quiet: int = 2  # so many headings from the left are pale: image and truth

    @property
    def side(self) -> float:
        """Room for the names of the rows."""
        return 0.25 + 0.066 * max(len(name) for name in self.names)

    @property
    def width(self) -> float:
        """Up to the right edge of the last column."""
        return self.side + len(self.headings) * (self.cell + GAP) - GAP

    @property
    def height(self) -> float:
        """Headings and rows."""
        return HEAD + sum(self._height(row) + GAP for row in self.rows)

    def draw(self, figure: Figure, top: float = 0.0) -> None:
        """Put the grid at the left edge of `figure`, `top` inches from above."""
        for column, heading in enumerate(self.headings):
            axes = picture_axes(figure, self._left(column), top, self.cell, HEAD)
            special = column == self.accent
            colour = ACCENT if special else INK if column >= self.quiet else MUTED
            axes.text(0, 0.3, heading, color=colour, weight="bold" if special else "normal", va="baseline")
        top += HEAD
        for name, row in zip(self.names, self.rows, strict=True):
            label = picture_axes(figure, 0, top, self.side - 0.1, self._height(row))
            label.text(1, 0.5, name, ha="right", va="center", color=INK)
            for column, picture in enumerate(row):
                if picture is not None:
                    axes = picture_axes(figure, self._left(column), top, self.cell, self._height(row))
                    axes.imshow(picture, aspect="auto", interpolation="antialiased" if column == 0 else "nearest")
            top += self._height(row) + GAP

    def _left(self, column: int) -> float:
        return self.side + column * (self.cell + GAP)

    def _height(self, row: Sequence[Image | None]) -> float:
        return next((self.cell * p.shape[0] / p.shape[1] for p in row if p is not None), self.cell)


def picture_grid(grid: Grid, space: LabelSpace | None = None) -> bytes:
    """The grid alone, with the colours and names of `space` below it."""
    with style():
        places = [] if space is None else legend_places(space, grid.width - grid.side)
        below = LINE * (places[-1][1] + 1) + 0.06 if places else 0.0
        figure = new_figure(grid.width + 0.15, grid.height + 0.15 + below)
        grid.draw(figure)
        if space is not None:
            draw_legend(figure, space, places, grid.side, grid.height + 0.06)
        return png(figure)
