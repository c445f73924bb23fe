"""What `gkd table` shows: scores over seeds, and each method's difference to a reference over images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gkd_lightning.evaluate.bootstrap import CONFIDENCE, RESAMPLES, Interval, Resampled, Scores, bootstrap
from gkd_lightning.evaluate.collection import Collection
from gkd_lightning.evaluate.pairing import pair
from gkd_lightning.evaluate.scores import Measure, miou_of, pq_of
from gkd_lightning.evaluate.tables import Row, Spread, table, unseen_domains

MEASURES: dict[str, Measure] = {"mIoU": miou_of, "PQ": pq_of}
"""What a table can be about."""


@dataclass(frozen=True)
class ImageDifference:
    """One method minus the reference in points, mean over seeds; `interval` is None where there is none."""

    points: float
    interval: Interval | None


@dataclass(frozen=True)
class MethodDifference:
    """One method against the reference, on the unseen mean and on each unseen domain."""

    row: Row
    unseen: ImageDifference
    domains: dict[str, ImageDifference]


@dataclass(frozen=True)
class ComparisonTable:
    """Everything that the formats show, in the order in which they show it.

    Attributes:
        title: headline of the first run.
        rows: one per method.
        targets: names of the unseen domains.
        reference: the row that the others are compared with.
        differences: of every other row; empty if there is none, or no unseen domain.
        images: how many images an interval draws from, by unseen domain; empty without counts.
        resamples: draws behind each interval.
        confidence: of the intervals, in percent.
        notes: sentences on what is missing, and on rows of other seeds than the reference.
        measure: what the scores are, one of `MEASURES`.
    """

    title: str
    rows: list[Row]
    targets: list[str]
    reference: Row
    differences: list[MethodDifference]
    images: dict[str, int]
    resamples: int
    confidence: float
    notes: list[str]
    measure: str = "mIoU"

    @property
    def several(self) -> bool:
        """Whether a method has more than one seed."""
        return any(len(row.seeds) > 1 for row in self.rows)


def comparison_table(
    collection: Collection,
    against: str,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    measure: str = "mIoU",
) -> ComparisonTable:
    """Compare every method of a collection with the method `against`, which is one of them.

    Args:
        collection: results, with or without counts per image.
        against: id of the reference method.
        resamples: draws of each domain's images.
        confidence: of the percentile intervals, in percent.
        measure: one of `MEASURES`; intervals are of mIoU alone, whose counts are kept for every image.

    Raises:
        UserError: the runs were not judged by one protocol or not on the same images.
    """
    results = collection.results
    rows, targets = table(results, MEASURES[measure]), unseen_domains(results)
    reference = next(row for row in rows if row.method == against)
    others = [row for row in rows if row is not reference] if targets else []
    paired = pair(results, collection.per_image)
    comparable = measure == "mIoU" and against in paired.methods and any(row.method in paired.methods for row in others)
    resampled = bootstrap(paired, resamples) if comparable else Resampled({})
    return ComparisonTable(
        title=results.title,
        rows=rows,
        targets=targets,
        reference=reference,
        differences=[
            _difference(row, reference, resampled.differences(row.method, against), targets, confidence)
            for row in others
        ],
        images=paired.images if comparable else {},
        resamples=resamples,
        confidence=confidence,
        notes=[
            *([_note(paired.missing)] if paired.missing and others and measure == "mIoU" else []),
            *(_other_seeds(row, reference) for row in others if set(row.seeds) != set(reference.seeds)),
        ],
        measure=measure,
    )


def _difference(
    row: Row, reference: Row, drawn: dict[str, Scores], targets: list[str], confidence: float
) -> MethodDifference:
    unseen = np.mean(list(drawn.values()), axis=0) if drawn else None
    return MethodDifference(
        row,
        _between(row.unseen, reference.unseen, unseen, confidence),
        {name: _between(row.domains[name], reference.domains[name], drawn.get(name), confidence) for name in targets},
    )


def _between(first: Spread, second: Spread, drawn: Scores | None, confidence: float) -> ImageDifference:
    return ImageDifference(first.mean - second.mean, None if drawn is None else Interval.of(drawn, confidence))


def _other_seeds(row: Row, reference: Row) -> str:
    mine, theirs = (f"seed{'s' * (len(each.seeds) > 1)} {', '.join(map(str, each.seeds))}" for each in (row, reference))
    return f"{row.title} is of {mine}, {reference.title} of {theirs}: part of their difference may be the seeds'."


def _note(missing: Sequence[str]) -> str:
    shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    return (
        f"No interval over images where counts per image were not kept ({shown}): "
        "judge again with `gkd run … --from evaluate` to have them."
    )
