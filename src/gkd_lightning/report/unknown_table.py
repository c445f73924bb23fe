"""How objects that no class is for are found by low confidence, a line a method and domain that has them."""

from __future__ import annotations

import math

from gkd_lightning.evaluate import UNKNOWN_COLUMNS, Results, Spread, table

UNKNOWN_HEADINGS = ("domain", "AUROC", "AUPR", "FPR95")
_SCORES = UNKNOWN_COLUMNS[1:]


def unknown_lines(results: Results) -> list[list[str]]:
    """Title and `UNKNOWN_HEADINGS`, over seeds; empty where no domain has unknown objects."""
    lines = []
    for row in table(results):
        for place, domain in enumerate(row.domains):
            found = [run.domains[place].unknown for run in row.runs]
            if any(each is None for each in found):
                continue
            values = [[getattr(each, name) for each in found] for name in _SCORES]
            spreads = [Spread.of(math.nan if value is None else value for value in each) for each in values]
            lines.append([row.title, domain, *map(str, spreads)])
    return lines
