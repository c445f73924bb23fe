"""Similarity as a figure: a CKA heat-map per encoder and domain, and the last layer's numbers by domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from gkd_lightning.report.charts import HEAT
from gkd_lightning.report.style import ACCENT, INK, MUTED, PAPER, Look, looks, new_figure, picture_axes, png, style

CELL, GAP = 1.55, 0.28  # inches
Matrix = NDArray[np.float64]


def similarity_png(
    heat: Mapping[str, Mapping[str, Matrix]],
    cosines: Mapping[str, Mapping[str, float]],
    student_layers: Mapping[str, Sequence[str]],
    teacher_layers: Sequence[str],
) -> bytes:
    """One line of heat-maps per encoder, a column per domain; below, last-layer CKA and token cosine by domain.

    Args:
        heat: CKA (student layers, teacher layers) by encoder and domain.
        cosines: mean token cosine by encoder and domain.
        student_layers: names of the rows by encoder.
        teacher_layers: names of the columns.
    """
    domains = list(next(iter(heat.values())))
    look = looks([(title, "method") for title in heat], next(iter(heat)))
    labels = 0.2 + 0.07 * max(len(title) for title in heat)
    left, top = 0.65, 0.95
    width = max(left + len(domains) * (CELL + GAP) + 0.65, left + 2 * 2.9 + labels + 0.4)
    line = CELL + 0.95
    charts = top + len(heat) * line
    with style():
        figure = new_figure(width, charts + 2.15)
        title = picture_axes(figure, 0.1, 0.06, width - 0.2, 0.3)
        title.text(0, 1, "Linear CKA between layers of student and teacher", va="top", weight="bold", size=9.5)
        for row, (name, by_domain) in enumerate(heat.items()):
            above = top + row * line
            heading = picture_axes(figure, left, above - 0.53, width - left, 0.3)
            heading.text(0, 0.5, name, va="center", color=look[name].colour, weight="bold")
            for column, domain in enumerate(domains):
                axes = picture_axes(figure, left + column * (CELL + GAP), above, CELL, CELL)
                _heat(axes, by_domain[domain], student_layers[name], teacher_layers, domain, column == 0)
        scale = picture_axes(figure, left + len(domains) * (CELL + GAP), top, 0.12, CELL)
        scale.imshow(np.linspace(1, 0, 64)[:, None], cmap=HEAT, aspect="auto", vmin=0, vmax=1)
        for height, text in ((0, "0"), (1, "1")):
            scale.text(1.5, height, text, transform=scale.transAxes, va="center", color=MUTED)
        both = (("CKA of the last layers", {t: {d: float(m[-1, -1]) for d, m in heat[t].items()} for t in heat}),
                ("cosine to the teacher's tokens, after a linear map", cosines))  # fmt: skip
        for place, (heading_text, values) in enumerate(both):
            axes = picture_axes(figure, left + place * 3.3, charts + 0.1, 2.9, 1.45)
            axes.set_axis_on()
            _by_domain(axes, values, domains, look, heading_text)
        for place, name in enumerate(heat):
            note = picture_axes(figure, left + 3.3 + 2.9 + 0.12, charts + 0.1 + 0.2 * place, labels, 0.2)
            note.text(0, 0.5, name, va="center", color=look[name].colour, weight="bold" if place == 0 else "normal")
        return png(figure)


def _heat(axes: Axes, values: Matrix, rows: Sequence[str], columns: Sequence[str], title: str, first: bool) -> None:
    axes.set_axis_on()
    axes.imshow(values, cmap=HEAT, vmin=0, vmax=1, aspect="auto", interpolation="nearest", origin="lower")
    if max(values.shape) <= 6:
        for (row, column), value in np.ndenumerate(values):
            ink = PAPER if value > 0.62 else INK
            text = f"{value:.2f}"[1:] if value < 1 else "1"
            axes.text(column, row, text, ha="center", va="center", color=ink, size=7)
    axes.set_title(title, pad=4, color=INK, weight="normal")
    _ticks(axes.xaxis, columns)
    _ticks(axes.yaxis, rows if first else [])
    axes.set_xlabel("teacher's block", labelpad=1)
    if first:
        axes.set_ylabel("student's block", labelpad=2)
    axes.spines["bottom"].set_visible(False)


def _ticks(axis: object, names: Sequence[str]) -> None:
    step = -(-len(names) // 7) if names else 1
    shown = [index for index in range(len(names)) if index == len(names) - 1 or (len(names) - 1 - index) % step == 0]
    axis.set_ticks(shown, [names[index] for index in shown], fontsize=7)  # type: ignore[attr-defined]


def _by_domain(
    axes: Axes, values: Mapping[str, Mapping[str, float]], domains: Sequence[str], look: Mapping[str, Look], title: str
) -> None:
    for number, (name, found) in enumerate(values.items()):
        places = np.arange(len(domains)) + (number - (len(values) - 1) / 2) * min(0.16, 0.6 / len(values))
        size = 6 if look[name].colour == ACCENT else 5
        axes.plot(places, [found[domain] for domain in domains], "o", ms=size, color=look[name].colour, clip_on=False)
    everything = [value for found in values.values() for value in found.values()]
    low, high = min(everything), max(everything)
    room = max(0.03, 0.15 * (high - low))
    axes.set_ylim(max(-1.0, low - room), min(1.0, high + room))
    axes.set_xlim(-0.5, len(domains) - 0.5)
    axes.set_xticks(range(len(domains)), domains, color=INK)
    axes.locator_params(axis="y", nbins=5)
    axes.grid(axis="y")
    axes.set_title(title, pad=6)
