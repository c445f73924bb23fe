"""What panoptic quality consists of, a line a method."""

from __future__ import annotations

import math
from statistics import fmean

from gkd_lightning.evaluate import PANOPTIC_COLUMNS, Results, RunResult, table

PANOPTIC_HEADINGS = ("PQ", "SQ", "RQ", "PQ things", "PQ stuff", "mask AP")


def panoptic_lines(results: Results) -> list[list[str]]:
    """Title and `PANOPTIC_COLUMNS` of every method, means over unseen domains and seeds; empty without segments.

    A method that was not judged on segments, as an export, has dashes.
    """
    if not any(score.panoptic for run in results.runs for score in run.domains):
        return []
    return [[row.title, *(_mean(row.runs, name) for name in PANOPTIC_COLUMNS)] for row in table(results)]


def _mean(runs: tuple[RunResult, ...], name: str) -> str:
    found = [score.panoptic for run in runs for score in run.domains if not score.seen]
    values = [math.nan if each is None else getattr(each, name) for each in found]
    numbers = [value for value in values if value is not None and not math.isnan(value)]
    return f"{fmean(numbers):.1f}" if numbers and len(numbers) == len(values) else "–"
