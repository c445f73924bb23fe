"""What the numbers allow one to say: a comparison claims only what exceeds the spread over seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate.results import STUDENTS, Results
from gkd_lightning.evaluate.tables import Row, Spread, table, unseen_domains

Verdict = Literal["ahead", "above", "level", "below", "behind"]
"""`ahead` and `behind` are claims; `above` and `below` hold for the unseen mean but not for four of five domains."""


@dataclass(frozen=True)
class Difference:
    """A minus B in points of mIoU, beside the sum of both standard deviations over seeds.

    `above` and `below` are true only beyond the spread, hence never with a single seed, whose spread is NaN.
    """

    points: float
    spread: float

    @classmethod
    def between(cls, first: Spread, second: Spread) -> Difference:
        """`first` minus `second`."""
        return cls(first.mean - second.mean, first.std + second.std)

    @property
    def above(self) -> bool:
        """A is better than B by more than the spread."""
        return self.points > self.spread

    @property
    def below(self) -> bool:
        """A is worse than B by more than the spread."""
        return -self.points > self.spread


@dataclass(frozen=True)
class Comparison:
    """Method `first` against method `second`, on the unseen mean and on each unseen domain."""

    first: Row
    second: Row
    unseen: Difference
    domains: dict[str, Difference]

    @classmethod
    def of(cls, first: Row, second: Row, targets: list[str]) -> Comparison:
        """Compare two rows of one table on the domains `targets`."""
        domains = {name: Difference.between(first.domains[name], second.domains[name]) for name in targets}
        return cls(first, second, Difference.between(first.unseen, second.unseen), domains)

    @property
    def wins(self) -> int:
        """Number of unseen domains on which `first` is above by more than the spread."""
        return sum(difference.above for difference in self.domains.values())

    @property
    def losses(self) -> int:
        """Number of unseen domains on which `first` is below by more than the spread."""
        return sum(difference.below for difference in self.domains.values())

    @property
    def needed(self) -> int:
        """Four of five unseen domains, rounded up."""
        return math.ceil(0.8 * len(self.domains))

    @property
    def verdict(self) -> Verdict:
        """A claim needs the unseen mean and four of five unseen domains beyond the spread."""
        if self.unseen.above and self.wins >= self.needed:
            return "ahead"
        if self.unseen.below and self.losses >= self.needed:
            return "behind"
        return "above" if self.unseen.above else "below" if self.unseen.below else "level"


def compare(results: Results, first: str, second: str) -> Comparison:
    """Method id `first` against method id `second`.

    Raises:
        UserError: no run of that method, or the runs were not judged by one protocol.
    """
    rows = {row.method: row for row in table(results)}
    for method in (first, second):
        if method not in rows:
            raise UserError(f"{method}: no run of this method; there are {', '.join(rows)}")
    return Comparison.of(rows[first], rows[second], unseen_domains(results))


def comparisons(results: Results) -> list[Comparison]:
    """The highlighted method against every other student (not the teacher, not an oracle)."""
    rows = table(results)
    ours = [row for row in rows if row.method == results.highlight]
    others = [row for row in rows if row.role in STUDENTS and row.method != results.highlight]
    return [Comparison.of(row, other, unseen_domains(results)) for row in ours for other in others]


def headline(results: Results) -> str:
    """One or two sentences for the top of a report, from the numbers alone, whoever wins."""
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
