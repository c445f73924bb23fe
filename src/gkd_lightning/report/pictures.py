"""Figures with images in them: sample grids, feature pictures, and the overview for the front page. All PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from gkd_lightning.data import Image, LabelSpace
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import REFERENCES, Results, table, unseen_domains
from gkd_lightning.report.charts import draw_scores
from gkd_lightning.report.gallery import Gallery, Sample, colourize
from gkd_lightning.report.style import ACCENT, INK, MUTED, new_figure, picture_axes, png, style

GAP, HEAD, LINE = 0.06, 0.3, 0.2  # inches: between cells, above the columns, of a line of the legend


@dataclass(frozen=True)
class Grid:
    """Pictures in rows and columns, all lengths in inches; a missing picture leaves a gap."""

    rows: Sequence[Sequence[Image | None]]
    names: Sequence[str]
    headings: Sequence[str]
    accent: int | None  # column whose heading gets the accent
    cell: float
    space: LabelSpace | None = None  # its colours and names are the legend

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
        """Headings, rows and legend."""
        legend = LINE * (self._legend()[-1][1] + 1) + 0.06 if self.space else 0.0
        return HEAD + sum(self._height(row) + GAP for row in self.rows) + legend

    def draw(self, figure: Figure, top: float = 0.0) -> None:
        """Put the grid at the left edge of `figure`, `top` inches from above."""
        for column, heading in enumerate(self.headings):
            axes = picture_axes(figure, self._left(column), top, self.cell, HEAD)
            special = column == self.accent
            colour = ACCENT if special else INK if column > 1 else MUTED
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
        if self.space is not None:
            self._draw_legend(figure, self.space, top + 0.06)

    def _left(self, column: int) -> float:
        return self.side + column * (self.cell + GAP)

    def _height(self, row: Sequence[Image | None]) -> float:
        return next((self.cell * p.shape[0] / p.shape[1] for p in row if p is not None), self.cell)

    def _legend(self) -> list[tuple[float, int]]:
        """(offset, line) of each class name, wrapped at the width of the columns."""
        places, offset, line = [], 0.0, 0
        for name in self.space.names if self.space else ():
            step = 0.36 + 0.06 * len(name)
            if offset > 0 and offset + step > self.width - self.side:
                offset, line = 0.0, line + 1
            places.append((offset, line))
            offset += step
        return places

    def _draw_legend(self, figure: Figure, space: LabelSpace, top: float) -> None:
        for name, colour, (offset, line) in zip(space.names, space.palette, self._legend(), strict=True):
            axes = picture_axes(figure, self.side + offset, top + LINE * line, 1, LINE)
            axes.set_xlim(0, 1)
            axes.set_ylim(0, LINE)
            fill = [value / 255 for value in colour]
            box = FancyBboxPatch((0.02, 0.065), 0.07, 0.07, "round,pad=0,rounding_size=0.02", fc=fill, ec="none")
            axes.add_patch(box)
            axes.text(0.14, 0.1, name, va="center_baseline", color=MUTED, size=8)


def sample_grid(gallery: Gallery, titles: Mapping[str, str], highlight: str = "gkd", cell_width: float = 1.6) -> bytes:
    """Rows = samples, columns = image, truth, one prediction per entry of `titles`; class colours below.

    Args:
        gallery: what to show.
        titles: column heading per method id, in order; samples without that prediction leave a gap.
        highlight: method id whose heading gets the accent.
        cell_width: inches.
    """
    return picture_grid(_samples(gallery.samples, gallery.label_space, titles, highlight, cell_width, "image"))


def feature_grid(gallery: Gallery, titles: Mapping[str, str], highlight: str = "gkd", cell_width: float = 1.6) -> bytes:
    """Rows = samples, columns = image and the principal components of each encoder's patch features."""
    shown = [sample for sample in gallery.samples if sample.features]
    rows = [[sample.image, *(sample.features.get(name) for name in titles)] for sample in shown]
    names = [sample.domain for sample in shown]
    accent = 1 + list(titles).index(highlight) if highlight in titles else None
    return picture_grid(Grid(rows, names, ["image", *titles.values()], accent, cell_width))


def hero(
    results: Results,
    gallery: Gallery,
    methods: Sequence[str] | None = None,
    domains: Sequence[str] | None = None,
) -> bytes:
    """The overview: a few unseen images with truth and predictions on the left, all unseen means on the right.

    Args:
        results: for the bars and titles.
        gallery: must hold a sample of each domain in `domains`; the first one is shown.
        methods: method ids whose predictions are shown; by default all students.
        domains: by default the first three unseen ones.

    Raises:
        UserError: the gallery has no sample of a domain.
    """
    rows = table(results)
    targets = unseen_domains(results)
    chosen = list(methods) if methods else [row.method for row in rows if row.role not in REFERENCES]
    samples = [_first(gallery, domain) for domain in domains or targets[:3]]
    titles = {method: row.title for method in chosen for row in rows if row.method == method}
    grid = _samples(samples, gallery.label_space, titles, results.highlight, 1.25, "unseen image")
    with style():
        left = grid.width + 0.45
        height = grid.height + 0.4
        figure = new_figure(left + 4.0, height)
        width = left + 4.0
        grid.draw(figure, top=0.2)
        start = left + 0.1 + 0.068 * max(len(row.title) for row in rows)
        axes = figure.add_axes((start / width, 0.3 / height, (width - 0.15 - start) / width, 1 - 1.05 / height))
        draw_scores(axes, rows, results.highlight)
        heading = picture_axes(figure, left, 0.2, width - left, 0.5)
        heading.text(0, 1, "mIoU on the unseen domains", va="top", weight="bold", size=10, color=INK)
        seeds = max(len(row.seeds) for row in rows)
        note = f"mean of {len(targets)} domains, percent" + (f"; dots: {seeds} seeds" if seeds > 1 else "")
        heading.text(0, 0.5, note, va="top", color=MUTED)
        return png(figure)


def _samples(
    samples: Sequence[Sample],
    space: LabelSpace,
    titles: Mapping[str, str],
    highlight: str,
    cell: float,
    first: str,
) -> Grid:
    rows = []
    for sample in samples:
        ids = [sample.predictions.get(method) for method in titles]
        predictions = [None if found is None else colourize(found, space) for found in ids]
        rows.append([sample.image, colourize(sample.truth, space), *predictions])
    accent = 2 + list(titles).index(highlight) if highlight in titles else None
    return Grid(rows, [s.domain for s in samples], [first, "truth", *titles.values()], accent, cell, space)


def _first(gallery: Gallery, domain: str) -> Sample:
    for sample in gallery.samples:
        if sample.domain == domain:
            return sample
    raise UserError(f"{domain}: the gallery has no sample of this domain")


def picture_grid(grid: Grid) -> bytes:
    """The grid alone."""
    with style():
        figure = new_figure(grid.width + 0.15, grid.height + 0.15)
        grid.draw(figure)
        return png(figure)
