"""A comparison table as Markdown, CSV, JSON or LaTeX."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from gkd_lightning.evaluate import (
    ComparisonTable,
    ImageDifference,
    MethodDifference,
    Row,
    Spread,
    csv_cell,
    number_or_none,
)
from gkd_lightning.files import csv_text
from gkd_lightning.report.claims import signed
from gkd_lightning.report.latency_table import LatencyTable, as_grid, latency_tables
from gkd_lightning.report.markdown import grid

UNSEEN, SEEN, GAP = "unseen mean", "in-domain", "gap"
SCHEMA = 1
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "–": "--", "…": r"\dots{}",
}  # fmt: skip


def to_markdown(found: ComparisonTable) -> str:
    """Both tables and a legend in plain words."""
    parts = [f"{found.measure} in percent: {found.title}\n", grid(*_scores(found))]
    if found.differences:
        parts += [f"Difference to {found.reference.title} in points of {found.measure}:\n", grid(*_differences(found))]
    for each in latency_tables(found.rows, found.reference.method):
        parts += [f"{each.note}\n", grid(*as_grid(each))]
    return "\n".join([*parts, "\n\n".join([*legend(found), *found.notes]) + "\n"])


def to_latex(found: ComparisonTable) -> str:
    """Two `tabular` environments (package booktabs) and the legend as comments."""
    parts = [_tabular(*_scores(found))] + ([_tabular(*_differences(found))] if found.differences else [])
    for each in latency_tables(found.rows, found.reference.method):
        parts += [f"% {each.note}", _tabular(*as_grid(each))]
    return "\n".join([*parts, "".join(f"% {line}\n" for line in [*legend(found), *found.notes])])


def to_csv(found: ComparisonTable) -> str:
    """One line per method and number; the columns of the difference are empty for the reference and off the targets."""
    head = ["method", "title", "role", "seeds", "score", "mean", "std", "against", "difference", "low", "high"]
    lines: list[list[Any]] = [[*head, "positive"]]
    differences = {difference.row.method: difference for difference in found.differences}
    for row in found.rows:
        for name, spread, difference in _numbers(row, found.targets, differences.get(row.method)):
            line = [row.method, row.title, row.role, len(row.seeds), name, csv_cell(spread.mean), csv_cell(spread.std)]
            lines.append(line + _difference_cells(difference, found.reference.method))
    for latencies in latency_tables(found.rows, found.reference.method):
        lines += [line for row in latencies.rows for line in _latency_lines(latencies, row)]
    return csv_text(lines)


def _latency_lines(found: LatencyTable, row: Row) -> Iterable[list[Any]]:
    for time in [time for setting in found.settings if (time := found.time(row, setting))]:
        for name, value in (("median", time.median_ms), ("p95", time.p95_ms)):
            what = f"{name} ms, {time.setting}, {found.conditions}"
            yield [row.method, row.title, row.role, len(row.seeds), what, csv_cell(value), *[""] * 6]


def to_json(found: ComparisonTable) -> str:
    """Everything, unrounded, in plain values; what is not known is null."""
    value = {
        "schema": SCHEMA,
        "title": found.title,
        "measure": found.measure,
        "unseen": found.targets,
        "rows": [_plain_row(row, found.targets) for row in found.rows],
        "against": found.reference.method,
        "differences": [
            {
                "method": difference.row.method,
                "domains": {name: _plain_difference(item) for name, item in difference.domains.items()},
                "unseen_mean": _plain_difference(difference.unseen),
            }
            for difference in found.differences
        ],
        "bootstrap": {"images": found.images, "resamples": found.resamples, "confidence": found.confidence},
        "legend": legend(found),
        "notes": found.notes,
    }
    return json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


FORMATS: dict[str, Callable[[ComparisonTable], str]] = {
    "markdown": to_markdown, "csv": to_csv, "json": to_json, "latex": to_latex,
}  # fmt: skip


def legend(found: ComparisonTable) -> list[str]:
    """What the numbers are over, in plain sentences."""
    several = "±: sample standard deviation over seeds, that is, over trainings of the same method."
    lines = [several if found.several else "One seed per method: nothing here says what another training would give."]
    if found.images:
        images = ", ".join(f"{domain} {count}" for domain, count in found.images.items())
        lines += [
            f"[low, high]: {found.confidence:g} % percentile interval of the difference over images ({images}): paired "
            f"bootstrap, {found.resamples} resamples. In words: above or below {found.reference.title} where the "
            "interval leaves 0 out. Resamples above: the share of them in which the method is ahead.",
            "The two answer different questions: the deviation, whether training again would give the same; the "
            "interval, whether other images of the same domains would, with the networks as they are.",
        ]
    return lines


def _scores(found: ComparisonTable) -> tuple[list[str], list[list[str]]]:
    head = ["method", "seeds", *found.targets, UNSEEN, SEEN, GAP]
    return head, [
        [row.title, str(len(row.seeds)), *(str(spread) for _, spread, _ in _numbers(row, found.targets))]
        for row in found.rows
    ]


def _differences(found: ComparisonTable) -> tuple[list[str], list[list[str]]]:
    head = ["method", UNSEEN, "resamples above", "in words", *found.targets]
    lines = []
    for difference in found.differences:
        interval = difference.unseen.interval
        share, words = (f"{interval.positive:.1f} %", interval.sign) if interval else ("–", "–")
        cells = [_with_interval(difference.domains[name]) for name in found.targets]
        lines.append([difference.row.title, _with_interval(difference.unseen), share, words, *cells])
    return head, lines


def _numbers(
    row: Row, targets: Sequence[str], difference: MethodDifference | None = None
) -> list[tuple[str, Spread, ImageDifference | None]]:
    """Name, scores and difference of each number of a row; the source has no difference."""
    domains = difference.domains if difference else {}
    return [
        *((name, row.domains[name], domains.get(name)) for name in targets),
        (UNSEEN, row.unseen, difference.unseen if difference else None),
        (SEEN, row.in_domain, None),
        (GAP, row.gap, None),
    ]


def _with_interval(difference: ImageDifference) -> str:
    if math.isnan(difference.points):
        return "–"
    interval = difference.interval
    if interval is None:
        return signed(difference.points)
    return f"{signed(difference.points)} [{signed(interval.low)}, {signed(interval.high)}]"


def _difference_cells(difference: ImageDifference | None, reference: str) -> list[str]:
    if difference is None:
        return [""] * 5
    found = difference.interval
    ends = (found.low, found.high, found.positive) if found else (math.nan,) * 3
    return [reference, *map(csv_cell, (difference.points, *ends))]


def _tabular(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    body = "".join(f"{' & '.join(map(_escaped, line))} \\\\\n" for line in lines)
    columns = "l" + "r" * (len(head) - 1)
    top = f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{' & '.join(map(_escaped, head))} \\\\\n\\midrule\n"
    return f"{top}{body}\\bottomrule\n\\end{{tabular}}\n"


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _plain_row(row: Row, targets: Sequence[str]) -> dict[str, Any]:
    head = {"method": row.method, "title": row.title, "role": row.role, "seeds": list(row.seeds)}
    scores = {"unseen_mean": row.unseen, "in_domain": row.in_domain, "gap": row.gap}
    domains = {name: _plain_spread(row.domains[name]) for name in targets}
    latencies = [each.asdict() for run in row.runs for each in run.latencies]
    plain = {**head, "domains": domains, **{name: _plain_spread(spread) for name, spread in scores.items()}}
    return plain | ({"latencies": latencies} if latencies else {})


def _plain_spread(spread: Spread) -> dict[str, Any]:
    values = [number_or_none(value) for value in spread.values]
    return {"mean": number_or_none(spread.mean), "std": number_or_none(spread.std), "values": values}


def _plain_difference(difference: ImageDifference) -> dict[str, Any]:
    found = difference.interval
    known = {**asdict(found), "words": found.sign} if found else dict.fromkeys(["low", "high", "positive", "words"])
    return {"points": number_or_none(difference.points), **known}
