"""What the report's tables say, as plain cells; the template only decides how they look."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gkd_lightning.evaluate import (
    REFERENCES,
    STUDENTS,
    Cost,
    Interval,
    Measure,
    Results,
    Row,
    Spread,
    class_means,
    comparisons,
    miou_of,
    table,
    unseen_domains,
)
from gkd_lightning.report.claims import signed


@dataclass(frozen=True)
class Cell:
    """A number of a table: its text, the spread beside it, the length of its bar in percent, is it the best."""

    text: str
    spread: str = ""
    bar: float | None = None
    best: bool = False


@dataclass(frozen=True)
class Line:
    """A row of a table; `kind` is ``ours``, ``student`` or ``reference``."""

    title: str
    kind: str
    cells: list[Cell]


@dataclass(frozen=True)
class Heat:
    """One heat-map: per domain one cell (text, value) per column, `value` None where there is nothing to show."""

    title: str
    columns: list[str]
    domains: list[str]
    cells: list[list[tuple[str, float | None]]]


def interval_text(interval: Interval | None) -> str:
    """Both ends in brackets; nothing where there is no interval."""
    return "" if interval is None else f"[{interval.low:.1f}, {interval.high:.1f}]"


def kind_of(row: Row, highlight: str) -> str:
    """How a row is set: it competes, it is the one the report is about, or it is a reference."""
    return "reference" if row.role in REFERENCES else "ours" if row.method == highlight else "student"


def result_table(results: Results, measure: Measure = miou_of) -> tuple[list[str], list[str], list[Line]]:
    """Methods x (unseen mean, unseen domains, in-domain, gap, share recovered), students first.

    Args:
        results: of one protocol.
        measure: the score of a domain that it is about.

    Returns:
        The names of the unseen domains, the headings of the columns after them, the lines. What no method has (an
        in-domain score, both ends of the share) is left out.
    """
    rows = sorted(table(results, measure), key=lambda row: row.role in REFERENCES)
    targets = unseen_domains(results)
    seen = [score.domain for score in results.runs[0].domains if score.seen]
    scored = [[row.unseen for row in rows], *([row.domains[name] for row in rows] for name in targets)]
    scored += [[row.in_domain for row in rows]] if seen else []
    top = max((s.mean for column in scored for s in column if not math.isnan(s.mean)), default=0.0) or 100.0
    cells = [_scored(column, rows, top) for column in scored]
    headings = [f"{seen[0]} (in-domain)" if len(seen) == 1 else "in-domain"] if seen else []
    if seen and targets:
        headings.append("gap")
        cells.append([Cell(_number(row.gap.mean), _spread(row.gap)) for row in rows])
    if any(not math.isnan(row.recovered.mean) for row in rows):
        headings.append("recovered")
        cells.append([_recovered(row) for row in rows])
    lines = zip(rows, zip(*cells, strict=True), strict=True)
    return targets, headings, [Line(row.title, kind_of(row, results.highlight), list(line)) for row, line in lines]


def _scored(column: Sequence[Spread], rows: Sequence[Row], top: float) -> list[Cell]:
    """Cells with bars; the best student's number, and any that rounds to the same, is marked."""
    students = [s.mean for s, row in zip(column, rows, strict=True) if row.role in STUDENTS and not math.isnan(s.mean)]
    best = _number(max(students)) if len(students) > 1 else ""
    return [
        Cell(
            _number(spread.mean),
            _spread(spread),
            None if math.isnan(spread.mean) else 100 * spread.mean / top,
            row.role in STUDENTS and _number(spread.mean) == best,
        )
        for spread, row in zip(column, rows, strict=True)
    ]


def _recovered(row: Row) -> Cell:
    if math.isnan(row.recovered.mean):
        return Cell("–")
    end = {"none": 0.0, "teacher": 100.0}.get(row.role, math.nan)
    if math.isclose(row.recovered.mean, end, abs_tol=1e-6):  # one of the two ends, by definition
        return Cell(f"{end:.0f} %")
    spread = row.recovered.std
    return Cell(f"{row.recovered.mean:.0f} %", "" if math.isnan(spread) else f"± {spread:.0f}")


def claim_lines(results: Results) -> list[Line]:
    """The highlighted method against each other student: verdict, difference, spread, domains won and lost.

    Empty if every method has a single seed: without a spread there is nothing to claim.
    """
    verdicts = {"above": "above on the mean", "level": "not separable", "below": "below on the mean"}
    lines = []
    for found in comparisons(results):
        single = math.isnan(found.unseen.spread)
        cells = [
            Cell("single seed, no claim" if single else verdicts.get(found.verdict, found.verdict)),
            Cell(signed(found.unseen.points)),
            Cell("–" if single else f"{found.unseen.spread:.1f}"),
            Cell("–" if single else f"{found.wins} of {len(found.domains)}"),
            Cell("–" if single else f"{found.losses} of {len(found.domains)}"),
        ]
        lines.append(Line(found.second.title, found.verdict, cells))
    return lines if any(len(row.seeds) > 1 for row in table(results)) else []


def heat_maps(results: Results) -> tuple[list[Heat], Heat | None]:
    """IoU per domain and class of every method (the highlighted one first), and its difference to ``none``."""
    rows = sorted(table(results), key=lambda row: row.method != results.highlight)
    maps = []
    for row in rows:
        domains, classes, values = class_means(row)
        means = np.array([[spread.mean] for spread in row.domains.values()])
        maps.append(heat_map(row.title, ["mIoU", *classes], domains, np.hstack([means, values]), "{:.0f}"))
    none = next((row for row in rows if row.role == "none"), None)
    if rows[0].method != results.highlight or none is None or none is rows[0]:
        return maps, None
    domains, classes, values = class_means(rows[0])
    means = np.array([[rows[0].domains[name].mean - none.domains[name].mean] for name in domains])
    difference = np.hstack([means, values - class_means(none)[2]])
    title = f"{rows[0].title} minus {none.title}"
    return maps, heat_map(title, ["mIoU", *classes], domains, difference, "{:+.0f}")


def heat_map(title: str, columns: list[str], domains: list[str], values: np.ndarray, style: str) -> Heat:
    """Of (domains, columns) numbers, each written by the format `style`."""

    def text(value: float) -> str:
        return "0" if abs(value) < 0.5 else style.format(value).replace("-", "−")

    cells: list[list[tuple[str, float | None]]] = [
        [("–", None) if np.isnan(value) else (text(value), float(value)) for value in line] for line in values
    ]
    return Heat(title, columns, domains, cells)


@dataclass(frozen=True)
class Record:
    """Recorded facts, the many settings of the configuration apart from the rest."""

    facts: list[tuple[str, str]]
    settings: list[tuple[str, str]]

    @classmethod
    def of(cls, pairs: Mapping[str, str]) -> Record:
        """Keys below ``config`` are settings."""
        settings = {key: text for key, text in pairs.items() if key.split(".")[0] == "config"}
        return cls([pair for pair in pairs.items() if pair[0] not in settings], list(settings.items()))

    def __bool__(self) -> bool:
        return bool(self.facts or self.settings)


COST_COLUMNS = ("parameters", "steps", "images seen", "TFLOPs", "wall-clock", "images/s", "peak memory")


def cost_lines(results: Results) -> list[Line]:
    """What training each method cost, mean over seeds; a dash where it was not measured.

    An export has no line beside its method's.
    """
    rows = sorted(table(results), key=lambda row: row.role in REFERENCES)
    return [
        Line(row.title, kind_of(row, results.highlight), [Cell(text) for text in _cost(run.cost for run in row.runs)])
        for row in [row for row in rows if row.role != "export"] or rows
    ]


def _cost(costs: Iterable[Cost]) -> list[str]:
    runs = list(costs)

    def mean(name: str) -> float:
        values = [getattr(cost, name) for cost in runs if getattr(cost, name) is not None]
        return sum(values) / len(values) if values else math.nan

    formats: dict[str, Callable[[float], str]] = {
        "params_m": lambda value: f"{value:.2f} M" if value < 10 else f"{value:.1f} M",
        "steps": lambda value: f"{value:,.0f}",
        "images": lambda value: f"{value:,.0f}",
        "tflops": lambda value: f"{value:,.0f}" if value >= 10 else f"{value:.2g}",
        "seconds": duration,
        "images_per_second": lambda value: f"{value:,.0f}" if value >= 10 else f"{value:.1f}",
        "peak_memory_mb": memory,
    }
    return ["–" if math.isnan(mean(name)) else write(mean(name)) for name, write in formats.items()]


def memory(mebibytes: float) -> str:
    """``512 MiB``, ``1.5 GiB``."""
    return f"{mebibytes / 1024:.1f} GiB" if mebibytes >= 1024 else f"{mebibytes:.0f} MiB"


def duration(seconds: float) -> str:
    """``52 s``, ``6 min 52 s``, ``3 h 07 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def facts(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested record as (dotted key, text) pairs."""
    pairs: list[tuple[str, str]] = []
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            pairs += facts(inner, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", inner if isinstance(inner, str) else json.dumps(inner)))
    return pairs


def provenance(results: Results) -> tuple[Record, list[tuple[str, Record]]]:
    """What all runs share, and per run (title, what is its own); empty where nothing was recorded."""
    every = [dict(facts(run.provenance)) for run in results.runs]
    common = {key: text for key, text in every[0].items() if all(run.get(key) == text for run in every)}
    own = [
        (f"{run.title}, seed {run.seed}", Record.of({key: text for key, text in found.items() if key not in common}))
        for run, found in zip(results.runs, every, strict=True)
    ]
    return Record.of(common), [(title, record) for title, record in own if record]


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}".replace("-", "−")


def _spread(spread: Spread) -> str:
    return "" if math.isnan(spread.std) else f"± {spread.std:.1f}"
