"""Curves over training, drawn from numbers alone, and the colours of a heat-map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from gkd_lightning.evaluate import Results
from gkd_lightning.report.style import ACCENT, Look, looks, new_figure

LINEAR = ("cosine", "entropy", "miou")  # curves that never get a logarithmic axis
FloatArray = NDArray[np.float64]
Points = Sequence[tuple[int, float]]
HEAT = LinearSegmentedColormap.from_list("heat", ["#fbf3ec", "#f6b48a", ACCENT, "#7c2d06"])


def result_looks(results: Results) -> dict[str, Look]:
    """How each method id is drawn, the same in every figure of these results."""
    return looks(list(dict.fromkeys((run.method, run.role) for run in results.runs)), results.highlight)


def draw_curve(axes: Axes, lines: Mapping[str, Sequence[Points]], look: Mapping[str, Look], decades: bool) -> None:
    """One quantity over steps: the mean over seeds as a line, from the lowest to the highest seed as a band.

    With `decades`, a positive quantity that spans more than a factor of 30 gets a logarithmic axis.
    """
    lowest, highest = math.inf, -math.inf
    for method in sorted(lines, key=lambda key: look[key].colour == ACCENT):  # the accent on top
        steps, values = seed_band([thin(points) for points in lines[method] if points])
        if not len(steps):
            continue
        front = look[method].colour == ACCENT
        axes.plot(steps, values.mean(0), color=look[method].colour, ls=look[method].dash, lw=1.7 if front else 1.3)
        axes.fill_between(steps, values.min(0), values.max(0), color=look[method].colour, alpha=0.16, lw=0)
        finite = values[np.isfinite(values)]
        if finite.size:
            lowest, highest = min(lowest, finite.min()), max(highest, finite.max())
    if decades and lowest > 0 and highest / lowest > 30:
        axes.set_yscale("log")
    else:
        axes.locator_params(axis="y", nbins=5)
    axes.grid(axis="y")
    axes.locator_params(axis="x", nbins=4)
    axes.margins(x=0)


def seed_band(seeds: Sequence[Sequence[tuple[float, float]]]) -> tuple[FloatArray, FloatArray]:
    """Steps (n,) of the first seed and values (seeds, n) of all, interpolated to those steps."""
    if not seeds:
        return np.empty(0), np.empty((0, 0))
    steps = np.array([step for step, _ in seeds[0]])
    return steps, np.stack([np.interp(steps, *np.array(points).T) for points in seeds])


def label_lines(
    axes: Axes, lines: Mapping[str, Sequence[Points]], titles: Mapping[str, str], look: Mapping[str, Look]
) -> None:
    """Write each method's name at the right end of its lines, pushed apart where they would overlap."""
    ends: list[tuple[float, str]] = []
    for method, runs in lines.items():
        last = [points[-1][1] for points in runs if points and math.isfinite(points[-1][1])]
        if last:
            scaled = axes.transScale.transform((0.0, sum(last) / len(last)))
            ends.append((float(axes.transLimits.transform(scaled)[1]), method))
    ends.sort()
    for place, (_, method) in zip(spaced([end for end, _ in ends], 0.1), ends, strict=True):
        label_line(axes, titles[method], place, look[method], (5, 0), "center_baseline")


def label_line(axes: Axes, title: str, place: float, look: Look, offset: tuple[float, float], va: str) -> None:
    """Write a method's name beside the axes at this share of their height, `offset` in points."""
    axes.annotate(
        title, (1, place), offset, xycoords="axes fraction", textcoords="offset points", va=va, annotation_clip=False,
        color=look.colour, weight="bold" if look.colour == ACCENT else "normal",
    )  # fmt: skip


def spaced(places: Sequence[float], distance: float) -> list[float]:
    """Ascending places in [0, 1] moved apart until neighbours are `distance` apart, each clash around its centre."""
    if not places:
        return []
    steps = distance * np.arange(len(places))
    moved = isotonic_regression(np.array(places) - steps).x + steps  # pools neighbours that clash
    return list(np.clip(moved, steps, 1 - steps[::-1]))


def thin(points: Points, limit: int = 160) -> list[tuple[float, float]]:
    """At most `limit` points: neighbours are averaged, so that noise shrinks instead of aliasing."""
    size = math.ceil(len(points) / limit)
    chunks = [points[start : start + size] for start in range(0, len(points), max(size, 1))]
    return [tuple(float(number) for number in np.mean(chunk, axis=0)) for chunk in chunks]  # type: ignore[misc]


def curve_names(results: Results) -> list[str]:
    """All curves of the runs, ``stage/quantity``; those of the highlighted method come first, in its order."""
    runs = sorted(results.runs, key=lambda run: run.method != results.highlight)
    return list(dict.fromkeys(name for run in runs for name in run.curves))


def curve_figure(results: Results, name: str) -> Figure:
    """One curve for all methods that have it, directly labelled, without a title. Call inside `style()`."""
    lines: dict[str, list[Points]] = {}
    for run in results.runs:
        if name in run.curves:
            lines.setdefault(run.method, []).append(run.curves[name])
    titles = {run.method: run.title for run in results.runs}
    look = result_looks(results)
    width, height = 3.6, 1.85
    figure = new_figure(width, height)
    labels = 0.12 + 0.062 * max((len(titles[method]) for method in lines), default=0)
    left, bottom = 0.36, 0.26
    axes = figure.add_axes((left / width, bottom / height, 1 - (left + labels) / width, 1 - (bottom + 0.1) / height))
    draw_curve(axes, lines, look, decades=not name.endswith(LINEAR))
    label_lines(axes, lines, titles, look)
    return figure
