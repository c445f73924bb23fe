"""What a report says first, in words: the comparisons of `gkd_lightning.evaluate`, whoever wins."""

from __future__ import annotations

import math
from typing import get_args

from gkd_lightning.evaluate import STUDENTS, Comparison, Results, Verdict, comparisons, table, unseen_domains

TRIAL_STEPS = 100
"""In fewer, all stages together, no student has learned anything that could be compared."""


def headline(results: Results) -> str:
    """One or two sentences for the top of a report, from the numbers alone, whoever wins."""
    steps = [run.cost.steps for run in results.runs if run.role in STUDENTS]
    known = [count for count in steps if count is not None]
    if known and len(known) == len(steps) and max(known) < TRIAL_STEPS:
        return f"A trial of {max(known)} steps: everything ran, and the numbers say nothing yet."
    rows = table(results)
    students = [row for row in rows if row.role in STUDENTS and not math.isnan(row.unseen.mean)]
    targets = unseen_domains(results)
    if not students:
        return "No student was judged on an unseen domain, so nothing can be said about generalization."
    ours = next((row for row in students if row.method == results.highlight), None)
    best = max(students, key=lambda row: row.unseen.mean)
    if ours is None:
        return f"On {_domains(len(targets))}, {best.title} is the best student with {best.unseen} mIoU."
    others = [row for row in students if row is not ours]
    seeds = min(len(row.seeds) for row in students)
    over = f" over {seeds} seeds" if seeds > 1 else ""
    where = f"On {_domains(len(targets))}, {ours.title} reaches {ours.unseen} mIoU{over}"
    if not others:
        return f"{where}; there is no other student to compare it with."
    if seeds == 1:
        clauses = [f"{_points(ours.unseen.mean - row.unseen.mean)} {row.title}" for row in others]
        return f"{where}: {_join(clauses)}. With a single seed these differences carry no error bar."
    return f"{where}: {_join(_clauses(comparisons(results)))}."


def _clauses(found: list[Comparison]) -> list[str]:
    """Ahead of, not separable from, behind: each other student is named once, with its difference."""
    named: dict[Verdict, list[str]] = {verdict: [] for verdict in get_args(Verdict)}
    for comparison in found:
        named[comparison.verdict].append(f"{comparison.second.title} ({signed(comparison.unseen.points)})")
    enough = f"{found[0].needed} of {len(found[0].domains)}"
    phrases: dict[Verdict, str] = {
        "ahead": "ahead of {} by more than the spread",
        "above": f"above {{}} on the mean, though not on {enough} domains",
        "level": "not separable from {}",
        "below": f"below {{}} on the mean, though not on {enough} domains",
        "behind": "behind {} by more than the spread",
    }
    return [phrases[verdict].format(_join(names)) for verdict, names in named.items() if names]


def signed(points: float) -> str:
    """With its sign, a real minus, and never a negative zero."""
    return f"{round(points, 1) + 0.0:+.1f}".replace("-", "\u2212")


def _points(points: float) -> str:
    return f"{abs(points):.1f} {'above' if points >= 0 else 'below'}"


def _domains(count: int) -> str:
    numbers = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return f"{numbers[count] if count < len(numbers) else count} unseen domain{'s' * (count != 1)}"


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
