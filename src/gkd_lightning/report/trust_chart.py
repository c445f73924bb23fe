"""Is a domain's confidence right, and does it find the errors: reliability beside risk over coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gkd_lightning.evaluate import BINS, CONFIDENCE, PIXELS, RIGHT, UNITS, DomainTrust
from gkd_lightning.report.charts import FloatArray, label_lines
from gkd_lightning.report.style import ACCENT, MUTED, RULE, Look, new_figure

LEAST = 1e-3
"""Share of a domain's pixels from which on a bin is a point of the line."""
HEIGHT, PANEL, GAP, LEFT, BOTTOM, TOP = 2.45, 2.15, 0.5, 0.36, 0.42, 0.3  # inches


def trust_figure(
    methods: Mapping[str, DomainTrust], titles: Mapping[str, str], look: Mapping[str, Look], highest: float
) -> Figure:
    """One domain, a line a method. Call inside `style()`.

    Args:
        methods: what is known of each.
        titles: of the methods.
        look: of the methods.
        highest: share of errors in percent at which the axis ends, the same for every domain.
    """
    width = LEFT + 2 * PANEL + GAP + 0.2 + 0.066 * max(len(titles[method]) for method in methods)
    figure = new_figure(width, HEIGHT)
    height = HEIGHT - BOTTOM - TOP
    order = sorted(methods, key=lambda method: look[method].colour == ACCENT)  # the accent on top
    axes = figure.add_axes((LEFT / width, BOTTOM / HEIGHT, PANEL / width, height / HEIGHT))
    _reliability(axes, methods, order, look)
    axes = figure.add_axes(((LEFT + PANEL + GAP) / width, BOTTOM / HEIGHT, PANEL / width, height / HEIGHT))
    _risk(axes, methods, order, look, highest)
    lines = {method: [[(100, float(methods[method].risk[-1]))]] for method in methods}
    label_lines(axes, lines, titles, look)
    return figure


def reliability(bins: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean confidence and share of right pixels in percent, of the bins that hold `LEAST` of all pixels."""
    kept = bins[bins[:, PIXELS] >= max(1.0, LEAST * bins[:, PIXELS].sum())]
    return 100 * kept[:, CONFIDENCE] / UNITS / kept[:, PIXELS], 100 * kept[:, RIGHT] / kept[:, PIXELS]


def _reliability(
    axes: Axes, methods: Mapping[str, DomainTrust], order: Sequence[str], look: Mapping[str, Look]
) -> None:
    axes.set_title("% right, by confidence", size=8.5)
    front = methods[order[-1]].bins[:, PIXELS].astype(float)
    shares = 26 * front / front.max()
    axes.bar((np.arange(BINS) + 0.5) * 100 / BINS, shares, width=0.86 * 100 / BINS, color=RULE, lw=0, zorder=0)
    axes.plot([0, 100], [0, 100], color=MUTED, lw=0.8, ls=(0, (1, 1.8)), zorder=1)
    for method in order:
        sure, right = reliability(methods[method].bins.astype(float))
        bold = look[method].colour == ACCENT
        axes.plot(sure, right, color=look[method].colour, ls=look[method].dash, lw=1.7 if bold else 1.1, zorder=2)
        if bold:
            axes.plot(sure, right, "o", ms=3, color=look[method].colour, zorder=3)
            if (at_temperature := methods[method].tempered_bins) is not None:
                warm = reliability(at_temperature.astype(float))
                axes.plot(*warm, color=look[method].colour, ls=(0, (3, 2)), lw=1.0, zorder=2)
            axes.fill_between(sure, right, sure, color=look[method].colour, alpha=0.13, lw=0, zorder=1)
    axes.set(xlim=(0, 101), ylim=(0, 101), xlabel="confidence, %")
    _ticks(axes)
    axes.set_yticks(axes.get_xticks())


def _risk(
    axes: Axes, methods: Mapping[str, DomainTrust], order: Sequence[str], look: Mapping[str, Look], highest: float
) -> None:
    axes.set_title("% wrong, of the surest pixels", size=8.5)
    for method in order:
        risk = methods[method].risk
        bold = look[method].colour == ACCENT
        axes.plot(
            np.arange(1, len(risk) + 1), risk, color=look[method].colour, ls=look[method].dash, lw=1.7 if bold else 1.1
        )
    axes.set(xlim=(0, 100), ylim=(-0.06 * highest, highest), xlabel="share of the pixels that is kept, %")
    _ticks(axes)
    axes.locator_params(axis="y", nbins=5)


def _ticks(axes: Axes) -> None:
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.xaxis.get_ticklabels()[-1].set_horizontalalignment("right")  # the names of the lines begin there
    axes.grid(axis="y")
