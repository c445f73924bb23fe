"""Accuracy beside milliseconds, memory and size: one table for each machine and size of image, never one for two."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gkd_lightning.evaluate import (
    REFERENCES,
    Conditions,
    Latency,
    Row,
    Setting,
    Spread,
    conditions_of,
    of_setting,
    settings_of,
)
from gkd_lightning.report.table_cells import Cell, Line, kind_of, memory

MEMORY, SIZE = "peak memory", "files"


@dataclass(frozen=True)
class LatencyTable:
    """What was measured on one machine.

    Attributes:
        conditions: machine and size of the images.
        settings: threads and GPU, in columns.
        score: what `scores` are: ``unseen mean``, or ``in-domain`` where no unseen domain was judged.
        rows: methods with a time, references last.
        highlight: method id that the report is about.
    """

    conditions: Conditions
    settings: list[Setting]
    score: str
    rows: list[Row]
    highlight: str

    @property
    def columns(self) -> list[str]:
        """Headings of `lines` after the first."""
        times = [f"{setting}, ms" for setting in self.settings]
        return [self.score, *times, "parameters", "GFLOPs", SIZE, MEMORY]

    @property
    def lines(self) -> list[Line]:
        """A row for each method; the 95th percentile stands beside each time as its spread."""
        return [Line(row.title, kind_of(row, self.highlight), self._cells(row)) for row in self.rows]

    def accuracy(self, row: Row) -> Spread:
        """mIoU in percent."""
        return row.unseen if self.score == "unseen mean" else row.in_domain

    def time(self, row: Row, setting: Setting) -> Latency | None:
        """What was measured of a method."""
        return of_setting(_all([row]), self.conditions, setting)

    @property
    def note(self) -> str:
        """How the numbers were made."""
        measured = [each for row in self.rows for setting in self.settings if (each := self.time(row, setting))]
        images, loads = {each.images for each in measured}, [each.load for each in measured]
        count = f"{min(images)}" if len(images) == 1 else f"{min(images)} to {max(images)}"
        runtimes = ", ".join(sorted({each.runtime for each in measured}))
        return (
            f"Milliseconds an image on {self.conditions}, from pixels in memory to class ids: median and 95th "
            f"percentile (p95) of {count} images, models in turns ({runtimes}). "
            f"System load beforehand: {max(loads):.1f}."
        )

    def _cells(self, row: Row) -> list[Cell]:
        accuracy = self.accuracy(row)
        times = [self.time(row, setting) for setting in self.settings]
        last = next(each for each in reversed(times) if each is not None)
        return [
            Cell("–" if math.isnan(accuracy.mean) else str(accuracy)),
            *(Cell("–") if each is None else Cell(_ms(each.median_ms), f"p95 {_ms(each.p95_ms)}") for each in times),
            Cell("–" if last.parameters is None else f"{last.parameters / 1e6:.2f} M"),
            Cell("–" if last.gflops is None else f"{last.gflops:.3g}"),
            Cell(f"{last.model_mb:.1f} MB"),
            Cell(memory(last.peak_memory_mb)),
        ]


def latency_tables(rows: Sequence[Row], highlight: str) -> list[LatencyTable]:
    """One for each machine and size of image that something was measured on; empty where nothing was."""
    ordered = sorted(rows, key=lambda row: row.role in REFERENCES)
    score = "in-domain" if all(math.isnan(row.unseen.mean) for row in rows) else "unseen mean"
    found = []
    for conditions in conditions_of(_all(rows)):
        here = [row for row in ordered if any(each.conditions == conditions for each in _all([row]))]
        settings = settings_of(each for each in _all(here) if each.conditions == conditions)
        found.append(LatencyTable(conditions, settings, score, here, highlight))
    return found


def as_grid(found: LatencyTable) -> tuple[list[str], list[list[str]]]:
    """Head and lines of plain text, for Markdown and LaTeX."""
    lines = [[line.title, *(_with_spread(cell) for cell in line.cells)] for line in found.lines]
    return ["method", *found.columns], lines


def _with_spread(cell: Cell) -> str:
    return f"{cell.text} ({cell.spread})" if cell.spread else cell.text


def _all(rows: Iterable[Row]) -> list[Latency]:
    return [each for row in rows for run in row.runs for each in run.latencies]


def _ms(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
