"""Figures with images in them: sample grids, feature pictures, and the overview for the front page. All PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch

from gkd_lightning.data.types import Image, LabelSpace
from gkd_lightning.evaluate.charts import draw_scores
from gkd_lightning.evaluate.gallery import Gallery, Sample, colourize
from gkd_lightning.evaluate.results import Results
from gkd_lightning.evaluate.style import ACCENT, INK, MUTED, new_figure, picture_axes, png, style
from gkd_lightning.evaluate.tables import table, unseen_domains

GAP, HEAD, SIDE = 0.06, 0.3, 0.75  # inches between cells, above the columns, left of the rows


def sample_grid(gallery: Gallery, titles: Mapping[str, str], highlight: str = "gkd", cell_width: float = 1.6) -> bytes:
    """Rows = samples, columns = image, truth, one prediction per entry of `titles`; class colours below.

    Args:
        gallery: what to show.
        titles: column heading per method id, in order; samples without that prediction leave a gap.
        highlight: method id whose heading gets the accent.
        cell_width: inches.
    """
    space = gallery.label_space

    def row(sample: Sample) -> list[Image | None]:
        predictions = [sample.predictions.get(method) for method in titles]
        return [
            sample.image,
            colourize(sample.truth, space),
            *(None if ids is None else colourize(ids, space) for ids in predictions),
        ]

    headings = ["image", "truth", *titles.values()]
    accent = [False, False, *(method == highlight for method in titles)]
    rows = [row(sample) for sample in gallery.samples]
    with style():
        return png(_grid(rows, [s.domain for s in gallery.samples], headings, accent, cell_width, space))


def feature_grid(gallery: Gallery, titles: Mapping[str, str], highlight: str = "gkd", cell_width: float = 1.6) -> bytes:
    """Rows = samples, columns = image and the principal components of each encoder's patch features."""
    shown = [sample for sample in gallery.samples if sample.features]
    rows: list[list[Image | None]] = [[s.image, *(s.features.get(name) for name in titles)] for s in shown]
    accent = [False, *(name == highlight for name in titles)]
    with style():
        return png(_grid(rows, [s.domain for s in shown], ["image", *titles.values()], accent, cell_width, None))


def hero(results: Results, gallery: Gallery, methods: Sequence[str], domains: Sequence[str]) -> bytes:
    """The overview: a few unseen images with truth and predictions on the left, all unseen means on the right.

    Args:
        results: for the bars and titles.
        gallery: must hold one sample of each domain in `domains`.
        methods: method ids whose predictions are shown, weakest first.
        domains: which domains to show.
    """
    titles = {run.method: run.title for run in results.runs}
    samples = [next(s for s in gallery.samples if s.domain == domain) for domain in domains]
    columns = 2 + len(methods)
    with style():
        cell = 1.25
        height = HEAD + len(samples) * (cell * _aspect(samples[0].image) + GAP) + 0.62
        left = SIDE + columns * (cell + GAP) + 0.4
        figure = new_figure(left + 4.1, height + 0.35)
        _draw_cells(
            figure,
            [
                [s.image, colourize(s.truth, gallery.label_space)]
                + [colourize(s.predictions[m], gallery.label_space) for m in methods]
                for s in samples
            ],
            list(domains),
            ["unseen image", "truth", *(titles[method] for method in methods)],
            [False, False, *(method == results.highlight for method in methods)],
            cell,
            top=0.2,
        )
        _legend(figure, gallery.label_space, SIDE, height - 0.25, columns * (cell + GAP))
        rows = table(results)
        width, total = figure.get_size_inches()
        longest = max(len(row.title) for row in rows)
        start = left + 0.1 + 0.068 * longest
        axes = figure.add_axes((start / width, 0.3 / total, (width - 0.15 - start) / width, 1 - 1.05 / total))
        draw_scores(axes, rows, results.highlight)
        count = len(unseen_domains(results))
        heading = picture_axes(figure, left, 0.2, width - left, 0.5)
        heading.text(0, 1, "mIoU on the unseen domains", va="top", weight="bold", size=10, color=INK)
        seeds = max(len(row.seeds) for row in rows)
        note = f"mean of {count} domains, percent" + (f"; dots: {seeds} seeds" if seeds > 1 else "")
        heading.text(0, 0.5, note, va="top", color=MUTED)
        return png(figure)


def _grid(
    rows: Sequence[Sequence[Image | None]],
    names: Sequence[str],
    headings: Sequence[str],
    accent: Sequence[bool],
    cell: float,
    space: LabelSpace | None,
) -> Figure:
    first = next(picture for row in rows for picture in row if picture is not None)
    width = SIDE + len(headings) * (cell + GAP) + 0.15
    body = HEAD + sum(cell * _aspect(row[0] if row[0] is not None else first) + GAP for row in rows)
    legend = 0.0 if space is None else _legend_height(space, width - SIDE)
    figure = new_figure(width, body + legend + 0.15)
    _draw_cells(figure, rows, names, headings, accent, cell)
    if space is not None:
        _legend(figure, space, SIDE, body + 0.06, width - SIDE)
    return figure


def _draw_cells(
    figure: Figure,
    rows: Sequence[Sequence[Image | None]],
    names: Sequence[str],
    headings: Sequence[str],
    accent: Sequence[bool],
    cell: float,
    top: float = 0.0,
) -> None:
    for column, (heading, special) in enumerate(zip(headings, accent, strict=True)):
        axes = picture_axes(figure, SIDE + column * (cell + GAP), top, cell, HEAD)
        colour, weight = (ACCENT, "bold") if special else (INK if column > 1 else MUTED, "normal")
        axes.text(0, 0.3, heading, color=colour, weight=weight, va="baseline")
    top += HEAD
    for name, row in zip(names, rows, strict=True):
        height = cell * next(_aspect(picture) for picture in row if picture is not None)
        label = picture_axes(figure, 0.1, top, SIDE - 0.2, height)
        label.text(1, 0.5, name, ha="right", va="center", color=INK)
        for column, picture in enumerate(row):
            if picture is not None:
                axes = picture_axes(figure, SIDE + column * (cell + GAP), top, cell, height)
                axes.imshow(picture, aspect="auto", interpolation="antialiased" if column == 0 else "nearest")
        top += height + GAP


def _flow(space: LabelSpace, width: float) -> list[tuple[float, int]]:
    """(offset in inches, line) of each class of the legend, wrapped at `width`."""
    places, offset, line = [], 0.0, 0
    for name in space.names:
        step = 0.36 + 0.06 * len(name)
        if offset > 0 and offset + step > width:
            offset, line = 0.0, line + 1
        places.append((offset, line))
        offset += step
    return places


def _legend_height(space: LabelSpace, width: float) -> float:
    return 0.2 * (_flow(space, width)[-1][1] + 1) + 0.06


def _legend(figure: Figure, space: LabelSpace, left: float, top: float, width: float) -> None:
    """Class colours with their names, in as many lines as they need."""
    for name, colour, (offset, line) in zip(space.names, space.palette, _flow(space, width), strict=True):
        axes = picture_axes(figure, left + offset, top + 0.2 * line, 1, 0.2)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 0.2)
        axes.add_patch(_swatch(colour))
        axes.text(0.15, 0.1, name, va="center_baseline", color=MUTED, size=8)


def _swatch(colour: tuple[int, int, int]) -> Patch:
    return FancyBboxPatch(
        (0.03, 0.065), 0.07, 0.07, "round,pad=0,rounding_size=0.02", fc=[c / 255 for c in colour], ec="none"
    )


def _aspect(image: Image) -> float:
    return float(image.shape[0] / image.shape[1])
