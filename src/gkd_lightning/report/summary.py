"""`summary.md`: a result's tables as Markdown, for the README of an experiment."""

from __future__ import annotations

import math
from itertools import combinations

from gkd_lightning.evaluate import (
    SIZES,
    STUDENTS,
    Comparison,
    Difference,
    Results,
    pq_of,
    table,
    trust_table,
    unseen_domains,
)
from gkd_lightning.report.claims import headline, signed
from gkd_lightning.report.latency_table import as_grid, latency_tables
from gkd_lightning.report.markdown import grid, markdown_table
from gkd_lightning.report.panoptic_table import PANOPTIC_HEADINGS, panoptic_lines
from gkd_lightning.report.shape_section import shape_lines
from gkd_lightning.report.table_cells import COST_COLUMNS, cost_lines
from gkd_lightning.report.tempered_section import tempered_lines
from gkd_lightning.report.trust_section import trust_lines
from gkd_lightning.report.unknown_table import UNKNOWN_HEADINGS, unknown_lines

TRUST_TABLES = {
    "ece": "Expected calibration error (ECE) of the confidence in percent, lower is better:",
    "auroc": "Errors found by low confidence (AUROC) in percent, 50 is a guess:",
}
"""What is told of confidence, by score."""


def summary(results: Results) -> str:
    """Headline, scores, differences between students, every seed, confidence, costs, latencies.

    Raises:
        UserError: the runs were not judged by one protocol.
    """
    several = any(len(row.seeds) > 1 for row in table(results))
    scores = "mIoU in percent, mean ± standard deviation over seeds:" if several else "mIoU in percent, one seed:"
    costs = "Costs of a run, mean over seeds:" if several else "Costs:"
    parts = [headline(results), scores, markdown_table(results)]
    segments = panoptic_lines(results)
    if segments:
        parts += [
            "Panoptic quality (PQ) in percent:",
            markdown_table(results, pq_of),
            "Its parts, mean over unseen domains and seeds:",
            grid(["method", *PANOPTIC_HEADINGS], segments),
        ]
    if several:
        parts += [
            "Differences between students in points, beside the sum of both standard deviations; **bold** where a "
            "difference exceeds it. *Ahead*: it does so on the unseen mean and on four of five unseen domains.",
            _differences(results),
            "Every seed:",
            _seeds(results),
        ]
    shapes = shape_lines(results)
    if shapes:
        parts += [
            "Contours and recall by size in percent, mean over unseen domains:",
            grid(["method", "boundary IoU", *SIZES], shapes),
        ]
    for name, text in TRUST_TABLES.items():
        lines = trust_lines(results, name)
        parts += [text, grid(["method", *(score.domain for score in results.runs[0].domains)], lines)] if lines else []
    warm = tempered_lines(trust_table(results))
    if warm:
        domains = [score.domain for score in results.runs[0].domains]
        parts += ["ECE at the temperature T that is fitted on the source:", grid(["method", "T", *domains], warm)]
    unknown = unknown_lines(results)
    if unknown:
        parts += [
            "Objects that no class is for, found by low confidence, in percent (AUROC 50 is a guess):",
            grid(["method", *UNKNOWN_HEADINGS], unknown),
        ]
    parts += [costs, _costs(results)]
    for found in latency_tables(table(results), results.highlight):
        parts += [found.note, grid(*as_grid(found))]
    return "\n".join(f"{part.rstrip()}\n" for part in parts)


def _differences(results: Results) -> str:
    targets = unseen_domains(results)
    rows = [row for row in table(results) if row.role in STUDENTS]
    lines = []
    for first, second in combinations(rows, 2):
        found = Comparison.of(first, second, targets)
        cells = [_difference(difference) for difference in (found.unseen, *found.domains.values())]
        verdict = {"ahead": first.title, "behind": second.title}.get(found.verdict, "–")
        lines.append([f"{first.title} − {second.title}", *cells, verdict])
    return grid(["difference", "unseen mean", *targets, "ahead"], lines)


def _difference(difference: Difference) -> str:
    if math.isnan(difference.points):
        return "–"
    text = signed(difference.points)
    text = f"**{text}**" if difference.above or difference.below else text
    return text if math.isnan(difference.spread) else f"{text} ({difference.spread:.1f})"


def _seeds(results: Results) -> str:
    targets = unseen_domains(results)
    lines = []
    for row in table(results):
        for index, seed in enumerate(row.seeds):
            spreads = [row.unseen, *(row.domains[name] for name in targets), row.in_domain]
            lines.append([row.title, str(seed), *(f"{spread.values[index]:.1f}" for spread in spreads)])
    return grid(["method", "seed", "unseen mean", *targets, "in-domain"], lines)


def _costs(results: Results) -> str:
    return grid(
        ["method", *COST_COLUMNS], [[line.title, *(cell.text for cell in line.cells)] for line in cost_lines(results)]
    )
