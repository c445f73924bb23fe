"""What a report says of confidence: methods side by side, one domain by domain, a figure of each domain."""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup

from gkd_lightning.evaluate import DomainTrust, PerImage, Results, Row, Spread, trust_table
from gkd_lightning.report.charts import result_looks
from gkd_lightning.report.style import style, themed_svg
from gkd_lightning.report.table_cells import Cell, Line, interval_text, kind_of
from gkd_lightning.report.tempered_section import TemperedSection, tempered_section
from gkd_lightning.report.trust_chart import trust_figure

TRUST_HEADINGS = ("accuracy", "confidence", "ECE", "adaptive ECE", "Brier", "AURC", "AUROC", "AUPR", "FPR95")
_MOST_LINES = 5
Found = list[tuple[Row, list[DomainTrust]]]


@dataclass(frozen=True)
class TrustSection:
    """Everything the page shows.

    Attributes:
        domains: their names.
        errors: ECE with its interval, a line a method and a cell a domain; empty of a single method.
        details: title of each method, the one that the report is about first, with a line a domain.
        charts: name and ECE of each domain, with its figure.
        intervals: whether there are any.
        tempered: what a temperature that is fitted on the source does; None without one.
        headings: of the columns of `details`.
    """

    domains: list[str]
    errors: list[Line]
    details: list[tuple[str, list[Line]]]
    charts: list[tuple[str, str, Markup]]
    intervals: bool
    tempered: TemperedSection | None = None
    headings: tuple[str, ...] = TRUST_HEADINGS


def trust_section(results: Results, per_image: PerImage | None = None) -> TrustSection | None:
    """None where no method's confidence was judged.

    Raises:
        UserError: runs of different protocols, or counts per image that are not those of the results.
    """
    found = trust_table(results, per_image)
    if not found:
        return None
    first = sorted(found, key=lambda each: each[0].method != results.highlight)
    return TrustSection(
        domains=[each.domain for each in found[0][1]],
        errors=[_errors(row, domains, results.highlight) for row, domains in found] if len(found) > 1 else [],
        details=[(row.title, [_detail(each) for each in domains]) for row, domains in first],
        charts=_charts(results, found),
        intervals=any(each.interval for _, domains in found for each in domains),
        tempered=tempered_section(first, results.highlight),
    )


def trust_lines(results: Results, name: str) -> list[list[str]]:
    """Title and one of `TRUST_COLUMNS` on every domain, of every method whose confidence was judged."""
    return [[row.title, *(str(each.scores[name]) for each in domains)] for row, domains in trust_table(results)]


def _errors(row: Row, domains: list[DomainTrust], highlight: str) -> Line:
    cells = [Cell(_number(each.scores["ece"]), interval_text(each.interval)) for each in domains]
    return Line(row.title, kind_of(row, highlight), cells)


def _detail(each: DomainTrust) -> Line:
    scores = each.scores
    cells = [
        Cell(_number(each.accuracy)),
        Cell(_number(each.confidence)),
        Cell(_number(scores["ece"]), interval_text(each.interval)),
        Cell(_number(scores["ece_adaptive"])),
        Cell(_number(scores["brier"], 3)),
        Cell(_number(scores["aurc"])),
        *(Cell(_number(scores[name])) for name in ("auroc", "aupr", "fpr95")),
    ]
    return Line(f"{each.domain} (in-domain)" if each.seen else each.domain, "student", cells)


def _charts(results: Results, found: Found) -> list[tuple[str, str, Markup]]:
    shown = _shown(results, found)
    look, titles = result_looks(results), {row.method: row.title for row, _ in shown}
    highest = max(float(each.risk[-1]) for _, domains in shown for each in domains)
    charts = []
    with style():
        for place, each in enumerate(shown[0][1]):
            methods = {row.method: domains[place] for row, domains in shown}
            drawing = themed_svg(trust_figure(methods, titles, look, 1.06 * highest or 1.0), f"trust-{place}")
            charts.append((each.domain, _said(shown[0][1][place]), Markup(drawing)))  # safe: matplotlib escapes
    return charts


def _shown(results: Results, found: Found) -> Found:
    """The one that the report is about first; exports repeat their method; of many, both ends beside it."""
    rows = [each for each in found if each[0].role != "export"] or found
    rows = sorted(rows, key=lambda each: each[0].method != results.highlight)
    if len(rows) <= _MOST_LINES:
        return rows
    ends = [next((each for each in rows[1:] if each[0].role == role), None) for role in ("none", "teacher")]
    return [rows[0], *(each for each in ends if each is not None)]


def _said(each: DomainTrust) -> str:
    sure, right = each.confidence.mean, each.accuracy.mean
    return f"{sure:.0f} % sure, {right:.0f} % right"


def _number(value: Spread, digits: int = 1) -> str:
    return "–" if math.isnan(value.mean) else f"{value.mean:.{digits}f}"
