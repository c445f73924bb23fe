"""What the numbers allow one to say: a comparison claims only what exceeds the spread over seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gkd_lightning.evaluate.results import Results
from gkd_lightning.evaluate.tables import Row, Spread, table, unseen_domains


@dataclass(frozen=True)
class Difference:
    """A minus B on one domain, in points of mIoU, beside the sum of both standard deviations over seeds."""

    points: float
    spread: float  # NaN if either has a single seed

    @classmethod
    def between(cls, better: Spread, worse: Spread) -> Difference:
        """`better` minus `worse`."""
        return cls(better.mean - worse.mean, better.std + worse.std)

    @property
    def exceeds_spread(self) -> bool:
        """True only if A is above B by more than the spread; never true with a single seed."""
        return self.points > self.spread  # a comparison with NaN is False


@dataclass(frozen=True)
class Comparison:
    """Method A against method B: on the unseen mean and on each unseen domain."""

    better: str
    worse: str
    unseen: Difference
    domains: dict[str, Difference]

    @property
    def wins(self) -> int:
        """Number of unseen domains on which A is above B by more than the spread."""
        return sum(difference.exceeds_spread for difference in self.domains.values())

    @property
    def needed(self) -> int:
        """Four of five unseen domains, rounded up."""
        return math.ceil(0.8 * len(self.domains))

    @property
    def holds(self) -> bool:
        """The claim "A beats B by more than the spread": on the unseen mean and on four of five unseen domains."""
        return self.unseen.exceeds_spread and bool(self.domains) and self.wins >= self.needed


def compare_rows(better: Row, worse: Row, targets: list[str]) -> Comparison:
    """`better` against `worse` on the domains `targets`."""
    domains = {name: Difference.between(better.domains[name], worse.domains[name]) for name in targets}
    return Comparison(better.method, worse.method, Difference.between(better.unseen, worse.unseen), domains)


def comparisons(results: Results) -> list[Comparison]:
    """The highlighted method against every other student (not the teacher, not an oracle)."""
    rows = table(results)
    ours = [row for row in rows if row.method == results.highlight]
    others = [row for row in rows if row.role in ("method", "none") and row.method != results.highlight]
    targets = unseen_domains(results)
    return [compare_rows(row, other, targets) for row in ours for other in others]


def headline(results: Results) -> str:
    """One or two sentences for the top of a report, from the numbers alone, whoever wins."""
    rows = table(results)
    students = [row for row in rows if row.role in ("method", "none") and not math.isnan(row.unseen.mean)]
    targets = unseen_domains(results)
    if not students:
        return f"{_domains(len(targets))}; no student was judged on them."
    ours = next((row for row in students if row.method == results.highlight), None)
    best = max(students, key=lambda row: row.unseen.mean)
    if ours is None:
        return f"On {_domains(len(targets))}, {best.title} is the best student with {best.unseen} mIoU."
    others = [row for row in students if row is not ours]
    where = f"On {_domains(len(targets))}, {ours.title} reaches {ours.unseen} mIoU"
    if not others:
        return f"{where}; there is no other student to compare it with."
    seeds = min(len(row.seeds) for row in students)
    if seeds == 1:
        clauses = [f"{_points(ours.unseen.mean - row.unseen.mean)} {row.title}" for row in others]
        return f"{where}: {_join(clauses)}. With a single seed these differences carry no error bar."
    return f"{where}: {_join(_verdicts(ours, others, targets))}. Spread over {seeds} seeds."


def _verdicts(ours: Row, others: list[Row], targets: list[str]) -> list[str]:
    """Ahead of, level with, behind: each other student is named once, with its difference."""
    ahead, level, behind = [], [], []
    for row in others:
        points = ours.unseen.mean - row.unseen.mean
        if compare_rows(ours, row, targets).holds:
            ahead.append(f"{row.title} ({points:+.1f})")
        elif compare_rows(row, ours, targets).holds:
            behind.append(f"{row.title} ({points:+.1f})")
        else:
            level.append(f"{row.title} ({points:+.1f})")
    clauses = []
    if ahead:
        clauses.append(f"ahead of {_join(ahead)} by more than the spread")
    if level:
        clauses.append(f"not separable from {_join(level)}")
    if behind:
        clauses.append(f"behind {_join(behind)} by more than the spread")
    return clauses


def _points(points: float) -> str:
    return f"{abs(points):.1f} {'above' if points >= 0 else 'below'}"


def _domains(count: int) -> str:
    numbers = (
        "no unseen domain",
        "one unseen domain",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
    )
    if count < 2:
        return numbers[count]
    return f"{numbers[count] if count < len(numbers) else count} unseen domains"


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
