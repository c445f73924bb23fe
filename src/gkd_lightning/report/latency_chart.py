"""Accuracy over milliseconds: every model a point, and the line of those that no other beats in both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import Bbox

from gkd_lightning.evaluate import Setting, pareto
from gkd_lightning.report.latency_table import LatencyTable
from gkd_lightning.report.style import ACCENT, GREYS, MUTED, PAPER, Look, looks, new_figure, png, style

WIDTH, HEIGHT = 4.9, 3.4
DECADE = 6.0
"""A wider range of times gets a logarithmic axis."""


def latency_figure(table: LatencyTable, settings: Sequence[Setting]) -> Figure:
    """A panel for each setting. Call inside `style()`."""
    look = looks([(row.method, row.role) for row in table.rows], table.highlight)
    figure = new_figure(WIDTH * len(settings), HEIGHT)
    for place, setting in enumerate(settings):
        axes = figure.add_axes(((place + 0.085) / len(settings), 0.16, 0.865 / len(settings), 0.74))
        _panel(axes, table, setting, look)
    return figure


def latency_png(table: LatencyTable) -> bytes:
    """All settings beside each other."""
    with style():
        return png(latency_figure(table, table.settings))


def _panel(axes: Axes, table: LatencyTable, setting: Setting, look: Mapping[str, Look]) -> None:
    rows = {row.method: row for row in table.rows}
    points = {
        method: (found.median_ms, table.accuracy(row).mean)
        for method, row in rows.items()
        if (found := table.time(row, setting)) and not math.isnan(table.accuracy(row).mean)
    }
    axes.set_title(f"mIoU in percent, {table.score}", pad=9)
    axes.set_xlabel(f"ms an image, {setting}")
    if not points:
        return
    front = pareto(points)
    _limits(axes, points)
    line = [points[front[0]]]
    for method in front[1:]:
        line += [(points[method][0], line[-1][1]), points[method]]
    axes.plot(*zip(*line, strict=True), color=GREYS[0], lw=1.1, zorder=1)
    for method, (cost, gain) in points.items():
        colour = look[method].colour
        inside = PAPER if rows[method].role == "export" else colour
        axes.plot([cost], [gain], "o", ms=6, mfc=inside, mec=colour, mew=1.4, zorder=3)
    _label(axes, points, {method: row.title for method, row in rows.items()}, look, line)


def _limits(axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    costs, gains = ([point[axis] for point in points.values()] for axis in (0, 1))
    if max(costs) / min(costs) > DECADE:
        axes.set_xscale("log")
        axes.set_xlim(min(costs) / 1.5, max(costs) * 2.2)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    else:
        wide = max(costs) - min(costs) or max(costs)
        axes.set_xlim(max(0, min(costs) - 0.15 * wide), max(costs) + 0.45 * wide)
        axes.locator_params(axis="x", nbins=6)
    tall = max(gains) - min(gains) or 1
    axes.set_ylim(min(gains) - 0.28 * tall, max(gains) + 0.28 * tall)
    axes.locator_params(axis="y", nbins=5)
    axes.grid(axis="y")


def _label(
    axes: Axes,
    points: Mapping[str, tuple[float, float]],
    titles: Mapping[str, str],
    look: Mapping[str, Look],
    front: Sequence[tuple[float, float]],
) -> None:
    """Name every point beside it where there is room, else on a flag above or below.

    From right to left: a flag flies to the right of its pole, so that no pole crosses a name.
    """
    figure: Any = axes.figure
    renderer = figure.canvas.get_renderer()
    share = figure.transFigure.inverted().transform  # holds at any resolution
    pixel = figure.dpi / 72  # of a point
    middles: dict[str, tuple[float, float]] = {
        method: tuple(axes.transData.transform(point)) for method, point in points.items()
    }
    taken = [_box(x - 5 * pixel, y - 5 * pixel, x + 5 * pixel, y + 5 * pixel) for x, y in middles.values()]
    corners = axes.transData.transform(front)
    taken += [_box(*before, *after).padded(pixel) for before, after in pairwise(corners)]
    room = axes.get_window_extent(renderer)
    for method in sorted(points, key=lambda method: -middles[method][0]):
        bold = "bold" if look[method].colour == ACCENT else "normal"
        text = axes.text(0, 0, titles[method], size=8, color=look[method].colour, weight=bold, zorder=4)
        extent = text.get_window_extent(renderer)
        flags = _flags(middles[method], (extent.width, extent.height), room.x1, pixel)
        box, pole = min(flags, key=lambda flag: _hidden(flag, taken, room))  # the first of those that hide nothing
        taken += [box, *([] if pole is None else [pole])]
        text.set(transform=figure.transFigure, position=share(box.min), verticalalignment="bottom")
        if pole is not None:
            tip = box.y0 if pole.y0 < box.y0 else box.y1
            ends = [share((middles[method][0], y)) for y in (middles[method][1], tip)]
            axes.plot(*zip(*ends, strict=True), transform=figure.transFigure, color=MUTED, lw=0.6, zorder=2)


class _Flag(NamedTuple):
    """Boxes of a name and of what holds it, if it does not lie beside its mark."""

    name: Bbox
    pole: Bbox | None


def _flags(middle: tuple[float, float], size: tuple[float, float], right: float, pixel: float) -> Iterator[_Flag]:
    """Places for a name, the best first: right of the mark, left of it, then on a pole."""
    (x, y), (width, height) = middle, size
    gap = 8 * pixel
    for left in (x + gap, x - gap - width):
        yield _Flag(_box(left, y - height / 2, left + width, y + height / 2), None)
    left = min(x - pixel, right - width)  # a flag flies to the left only where the axes end
    for level in range(12):
        for up in (1, -1):
            low = y + up * (gap + level * height) - (height if up < 0 else 0)
            name = _box(left, low, left + width, low + height)
            tip = low if up > 0 else low + height
            yield _Flag(name, _box(x - pixel / 2, y + up * 5 * pixel, x + pixel / 2, tip))


def _hidden(flag: _Flag, taken: Sequence[Bbox], room: Bbox) -> float:
    """Area of what a name would hide or leave the axes by."""
    box, pole = flag
    lost = box.width * box.height - _common(box, room)
    crossed = 0.0 if pole is None else sum(_common(pole, other) for other in taken)
    return round(lost + 20 * crossed + sum(_common(box, other) for other in taken), 3)


def _box(x0: float, y0: float, x1: float, y1: float) -> Bbox:
    return Bbox.from_extents(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))


def _common(first: Bbox, second: Bbox) -> float:
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    return float(max(width, 0) * max(height, 0))
