"""What the numbers allow one to say: a comparison claims only what exceeds the spread over seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

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
