"""Draw the picture at the top of README.md: `python docs/overview_picture.py runs/minicity-demo docs/images/demo.png`.

A few unseen images with truth and predictions on the left, all unseen means on the right. Other methods and domains:
`--methods none,gkd --domains day,night,fog`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from gkd_lightning.evaluate import REFERENCES, Results, Row, table, unseen_domains
from gkd_lightning.report import Gallery, Grid, colourize
from gkd_lightning.report.legend import LINE, draw_legend, legend_places
from gkd_lightning.report.style import ACCENT, GREYS, INK, MUTED, PALE, PAPER, new_figure, picture_axes, png, style


def overview(
    results: Results, gallery: Gallery, methods: Sequence[str] = (), domains: Sequence[str] = (), cut: str = ""
) -> bytes:
    """PNG; by default all students, and the first three unseen domains, of which the first sample is shown.

    Args:
        results: with one or more seeds.
        gallery: of one of them.
        methods: ids of the columns.
        domains: the rows.
        cut: an end of all titles that is left out.
    """
    targets = unseen_domains(results)
    rows = [replace(row, title=row.title.removesuffix(cut)) for row in table(results)]
    shown = methods or [row.method for row in rows if row.role not in REFERENCES]
    titles = {method: row.title for method in shown for row in rows if row.method == method}
    places = domains or targets[:3]
    samples = [next(sample for sample in gallery.samples if sample.domain == domain) for domain in places]
    pictures = []
    for sample in samples:
        labels = [sample.truth, *(sample.predictions.get(method) for method in titles)]
        painted = [None if label is None else colourize(label, gallery.label_space) for label in labels]
        pictures.append([sample.image, *painted])
    accent = 2 + list(titles).index(results.highlight) if results.highlight in titles else None
    grid = Grid(pictures, places, ["unseen image", "truth", *titles.values()], 1.25, accent)
    places_of_names = legend_places(gallery.label_space, grid.width - grid.side)
    with style():
        left = grid.width + 0.45
        width, height = left + 4.0, grid.height + 0.46 + LINE * (places_of_names[-1][1] + 1)
        figure = new_figure(width, height)
        grid.draw(figure, top=0.2)
        draw_legend(figure, gallery.label_space, places_of_names, grid.side, grid.height + 0.26)
        start = left + 0.1 + 0.068 * max(len(row.title) for row in rows)
        axes = figure.add_axes((start / width, 0.3 / height, (width - 0.15 - start) / width, 1 - 1.05 / height))
        draw_scores(axes, rows, results.highlight)
        heading = picture_axes(figure, left, 0.2, width - left, 0.5)
        heading.text(0, 1, "mIoU on the unseen domains", va="top", weight="bold", size=10, color=INK)
        seeds = max(len(row.seeds) for row in rows)
        note = f"mean of {len(targets)} domains, percent" + (f"; dots: {seeds} seeds" if seeds > 1 else "")
        heading.text(0, 0.5, note, va="top", color=MUTED)
        return png(figure)


def draw_scores(axes: Axes, rows: Sequence[Row], highlight: str) -> None:
    """Unseen mean per method as labelled bars; teacher and oracle, which do not compete, stand pale below."""
    ordered = sorted(rows, key=lambda row: row.role in REFERENCES)
    top = max((value for row in rows for value in row.unseen.values if not math.isnan(value)), default=1.0)
    gap = 0.35  # between students and references
    for place, row in enumerate(ordered):
        reference, front = row.role in REFERENCES, row.method == highlight
        height = -place - gap * reference
        axes.barh(height, row.unseen.mean, 0.52, color=PALE if reference else ACCENT if front else GREYS[0])
        if len(row.unseen.values) > 1:
            heights = [height] * len(row.unseen.values)
            axes.plot(row.unseen.values, heights, "o", zorder=3, ms=3, mfc=PAPER, mec=INK, mew=0.7)
        text: dict[str, Any] = {
            "va": "center",
            "color": ACCENT if front else MUTED if reference else INK,
            "weight": "bold" if front else "normal",
            "textcoords": "offset points",
        }
        end = max((value for value in row.unseen.values if not math.isnan(value)), default=0.0)
        axes.annotate(str(row.unseen), (end, height), (6, 0), **text)
        axes.annotate(row.title, (0, height), (-7, 0), ha="right", **text)
    axes.set_ylim(-len(rows) + 0.5 - gap, 0.5)
    axes.set_xlim(0, top * 1.6)
    axes.set_yticks([])
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.spines["left"].set_visible(False)


def main() -> None:
    """See the head of this file."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path, help="folder with results.json and gallery.npz")
    options.add_argument("picture", type=Path)
    options.add_argument("--methods", default="", help="ids with commas between them")
    options.add_argument("--domains", default="")
    options.add_argument("--cut", default="", help="an end of all titles that is left out, such as ', 6,000 steps'")
    found = options.parse_args()
    results, gallery = Results.load(found.run / "results.json"), Gallery.load(found.run / "gallery.npz")
    methods, domains = ([name for name in text.split(",") if name] for text in (found.methods, found.domains))
    found.picture.write_bytes(overview(results, gallery, methods, domains, found.cut))


if __name__ == "__main__":
    main()
