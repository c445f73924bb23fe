"""What a report says of contours and of small things: methods side by side, one method domain by domain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from gkd_lightning.evaluate import (
    SHAPE_COLUMNS,
    SIZES,
    DomainScore,
    Results,
    Row,
    Spread,
    boundary_of,
    class_means,
    table,
)
from gkd_lightning.report.table_cells import Cell, Heat, Line, heat_map, result_table

SHAPE_HEADINGS = ("mIoU", "boundary IoU", *SIZES)


@dataclass(frozen=True)
class ShapeSection:
    """Everything the page shows.

    Attributes:
        methods: boundary IoU of every method, as the table of results: see `result_table`.
        title: of the method that the rest is about.
        details: a line a domain.
        contours: boundary IoU by domain and class.
        sizes: recall by size and class, their mean first: over the unseen domains, or over all where none is unseen.
        headings: of the columns of `details`; the last ones are recall.
    """

    methods: tuple[list[str], list[str], list[Line]]
    title: str
    details: list[Line]
    contours: Heat
    sizes: Heat
    headings: tuple[str, ...] = SHAPE_HEADINGS


def shape_section(results: Results) -> ShapeSection | None:
    """None where no method's shapes were judged.

    Raises:
        UserError: runs of different protocols.
    """
    rows = sorted(_judged(results), key=lambda row: row.method != results.highlight)
    if not rows:
        return None
    first = rows[0]
    domains, classes, contours = class_means(first, _contours_of)
    means = np.array([[first.domains[name].mean] for name in domains])
    return ShapeSection(
        methods=result_table(results, boundary_of),
        title=first.title,
        details=[_detail(first, place) for place in range(len(domains))],
        contours=heat_map(first.title, ["mean", *classes], domains, np.hstack([means, contours]), "{:.0f}"),
        sizes=heat_map(first.title, ["mean", *classes], list(SIZES), _recall(first), "{:.0f}"),
    )


def shape_lines(results: Results) -> list[list[str]]:
    """Title and `SHAPE_COLUMNS`, means over unseen domains and seeds, of every method whose shapes were judged."""
    return [
        [row.title, *(str(Spread.of(_unseen(run.domains, name) for run in row.runs)) for name in SHAPE_COLUMNS)]
        for row in _judged(results)
    ]


def _judged(results: Results) -> list[Row]:
    rows = table(results, boundary_of)
    return [row for row in rows if all(score.shapes for run in row.runs for score in run.domains)]


def _unseen(domains: list[DomainScore], name: str) -> float:
    return _mean(np.array([getattr(score.shapes, name) for score in domains if not score.seen]))


def _detail(row: Row, place: int) -> Line:
    domains = [run.domains[place] for run in row.runs]
    values = [Spread.of(score.miou for score in domains)]
    values += [Spread.of(getattr(score.shapes, name) for score in domains) for name in SHAPE_COLUMNS]
    cells = [Cell("–" if math.isnan(value.mean) else f"{value.mean:.1f}") for value in values]
    return Line(f"{domains[0].domain} (in-domain)" if domains[0].seen else domains[0].domain, "student", cells)


def _recall(row: Row) -> np.ndarray:
    """(SIZES, 1 + C), mean over unseen domains and seeds: of the classes' mean, and of each."""
    seen = [score.seen for score in row.runs[0].domains]
    kept = [place for place, home in enumerate(seen) if not home or all(seen)]
    lines = []
    for size in SIZES:
        values = class_means(row, partial(_recall_of, size))[2][kept]
        lines.append([_mean(np.array([_mean(each) for each in values])), *(_mean(each) for each in values.T)])
    return np.array(lines)


def _mean(values: np.ndarray) -> float:
    """Of those that are known; NaN where none is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _contours_of(score: DomainScore) -> list[float | None]:
    assert score.shapes is not None
    return score.shapes.boundary_iou


def _recall_of(size: str, score: DomainScore) -> list[float | None]:
    assert score.shapes is not None
    return score.shapes.recall(size)
