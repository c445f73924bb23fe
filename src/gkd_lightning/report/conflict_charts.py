"""Gradient conflict as figures: the cosine over training, and by part of the encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gkd_lightning.evaluate import ENCODER, PATCH_EMBEDDING, Conflict
from gkd_lightning.report.charts import Points, draw_curve, label_line, label_lines
from gkd_lightning.report.style import ACCENT, INK, MUTED, PALE, Look, looks, new_figure, png, style


@dataclass(frozen=True)
class Training:
    """What one training has logged, as (step, value) points.

    Attributes:
        cosines: by part of the encoder, see `conflicts`.
        task: norm of the task's gradient.
        distillation: norm of the distillation's gradient.
    """

    cosines: Mapping[str, Points]
    task: Points
    distillation: Points


def training_png(trainings: Mapping[str, Training]) -> bytes:
    """Cosine over training, its mean by part, and the norms of both gradients (of the first training)."""
    look = _looks(list(trainings))
    labels = 0.15 + 0.068 * max(len(title) for title in trainings)
    by_part = max(2.5, 0.34 * max(len(training.cosines) for training in trainings.values()))
    with style():
        width, height = 3.75 + labels + 0.45 + by_part + 0.55 + 3.0, 2.75
        figure = new_figure(width, height)
        axes = _axes(figure, 0.55, 3.1, "Cosine between the gradients of task and distillation")
        lines = {title: [training.cosines[ENCODER]] for title, training in trainings.items()}
        _below_zero(axes)
        draw_curve(axes, lines, look, decades=False)
        lowest = min(value for (points,) in lines.values() for _, value in points)
        axes.set_ylim(min(-0.2, lowest - 0.15), max(0.3, axes.get_ylim()[1]))
        axes.set_xlabel("training step")
        label_lines(axes, lines, {title: title for title in trainings}, look)
        left = 3.75 + labels + 0.45
        parts = _axes(figure, left, by_part, "Mean over training, by part")
        means = {
            title: {part: float(np.mean([value for _, value in points])) for part, points in training.cosines.items()}
            for title, training in trainings.items()
        }
        _dots(parts, means, look)
        first, training = next(iter(trainings.items()))
        whose = f" of {first}" if len(trainings) > 1 else ""
        norms = _axes(figure, left + by_part + 0.55, 2.0, f"Gradient norms{whose}")
        pair = {"task": [training.task], "distillation": [training.distillation]}
        pair_look = {"task": Look(INK), "distillation": Look(ACCENT)}
        draw_curve(norms, pair, pair_look, decades=True)
        norms.set_xlabel("training step")
        label_lines(norms, pair, {name: name for name in pair}, pair_look)
        return png(figure)


def parts_png(found: Mapping[str, Mapping[str, Conflict]], note: str) -> bytes:
    """Cosine by part of the encoder of several checkpoints, the whole first; `note` says on what images."""
    look = _looks(list(found))
    count = max(len(parts) for parts in found.values())
    labels = 0.15 + 0.068 * max(len(title) for title in found)
    with style():
        plot = max(3.2, 0.55 * count)
        figure = new_figure(0.7 + plot + labels, 3.05)
        axes = _axes(figure, 0.55, plot, "Cosine between the gradients of task and distillation", note)
        cosines = {title: {part: each.cosine for part, each in parts.items()} for title, parts in found.items()}
        _dots(axes, cosines, look)
        for place, title in enumerate(found):
            label_line(axes, title, 0.95 - 0.11 * place, look[title], (8, 0), "top")
        return png(figure)


def _axes(figure: Figure, left: float, width: float, title: str, note: str = "") -> Axes:
    total, height = figure.get_size_inches()
    bottom, top = 0.62, 0.57 if note else 0.42
    axes = figure.add_axes((left / total, bottom / height, width / total, (height - bottom - top) / height))
    axes.set_title(title, pad=20 if note else 8)
    axes.annotate(note, (0, 1), (0, 7), xycoords="axes fraction", textcoords="offset points", color=MUTED, size=7.5)
    return axes


def _looks(titles: Sequence[str]) -> dict[str, Look]:
    return looks([(title, "method") for title in titles], titles[0])


def _below_zero(axes: Axes) -> None:
    axes.axhspan(-1, 0, color=PALE, lw=0, zorder=0)
    axes.axhline(0, color=MUTED, lw=0.8, zorder=1)
    axes.text(0.01, 0.02, "below 0: the losses conflict", transform=axes.transAxes, color=MUTED, size=7.5, va="bottom")


def _dots(axes: Axes, values: Mapping[str, Mapping[str, float]], look: Mapping[str, Look]) -> None:
    parts = list(dict.fromkeys(part for found in values.values() for part in found))
    for number, (title, found) in enumerate(values.items()):
        offset = (number - (len(values) - 1) / 2) * min(0.16, 0.6 / len(values))
        places = [parts.index(part) + offset for part in found]
        axes.vlines(places, 0, list(found.values()), color=look[title].colour, lw=1.2)
        axes.plot(places, list(found.values()), "o", ms=5, color=look[title].colour)
    known = [value for found in values.values() for value in found.values() if np.isfinite(value)]
    axes.set_ylim(min(-0.1, min(known, default=0) - 0.08), max(0.2, max(known, default=0) + 0.08))
    _below_zero(axes)
    axes.set_xlim(-0.6, len(parts) - 0.4)
    axes.set_xticks(range(len(parts)), [_short(part) for part in parts], color=INK, fontsize=7.5)
    axes.set_xlabel("all parameters, patch embedding, blocks")
    axes.grid(axis="y")


def _short(part: str) -> str:
    """A part as a tick: ``all``, ``embed``, ``3``."""
    return {ENCODER: "all", PATCH_EMBEDDING: "embed"}.get(part, part.removeprefix("block_"))
