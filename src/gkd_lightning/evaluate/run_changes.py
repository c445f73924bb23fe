"""What changed from one run to another: domains, classes and images won and lost by every method that both hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate.class_mistakes import image_scores
from gkd_lightning.evaluate.collection import Collection
from gkd_lightning.evaluate.pairing import check_same_images
from gkd_lightning.evaluate.per_image import ImageCounts, PerImage
from gkd_lightning.evaluate.tables import Row, check_comparable, class_means, table

VISIBLE = 1.0
"""Points from which on a class or an image counts as won or lost."""


@dataclass(frozen=True)
class Change:
    """Something that was scored twice, in percent."""

    name: str
    before: float
    after: float

    @property
    def points(self) -> float:
        """What was won; lost where it is negative."""
        return self.after - self.before


@dataclass(frozen=True)
class DomainChange:
    """One domain.

    Attributes:
        miou: of the whole domain; its name is the domain's.
        seen: whether it is a source.
        classes: every class that was scored in both runs, the largest gain first.
        images: every image, likewise; empty where counts per image are missing.
    """

    miou: Change
    seen: bool
    classes: list[Change]
    images: list[Change]


@dataclass(frozen=True)
class MethodChange:
    """One method: mean over the seeds of either run.

    Attributes:
        title: of the later run.
        seeds: of the run before, and of the later one.
        unseen: the mean over unseen domains.
        domains: those of the later run.
    """

    title: str
    seeds: tuple[tuple[int, ...], tuple[int, ...]]
    unseen: Change
    domains: list[DomainChange]


def changes(before: Collection, after: Collection) -> list[MethodChange]:
    """Compare the methods that both runs hold, by their ids; where each holds a single one, these two.

    Raises:
        UserError: they have no method in common, or were not judged in the same way on the same images.
    """
    earlier, later = ({row.method: row for row in table(each.results)} for each in (before, after))
    shared = [(earlier[name], row) for name, row in later.items() if name in earlier]
    if not shared and len(earlier) == len(later) == 1:
        shared = [(next(iter(earlier.values())), next(iter(later.values())))]
    if not shared:
        raise UserError(
            f"--before: no method in common: before {', '.join(earlier)}; now {', '.join(later)}; compare runs that "
            "share a row, or that have one each"
        )
    check_comparable([*shared[0][0].runs, *shared[0][1].runs])
    return [_method(old, new, before.per_image, after.per_image) for old, new in shared]


def _method(old: Row, new: Row, before: PerImage, after: PerImage) -> MethodChange:
    _, classes, first = class_means(old)
    names, _, second = class_means(new)
    domains = []
    for index, (name, score) in enumerate(zip(names, new.runs[0].domains, strict=True)):
        miou = Change(name, old.domains[name].mean, new.domains[name].mean)
        images = _images(name, _counts(old, name, before), _counts(new, name, after))
        domains.append(DomainChange(miou, score.seen, _sorted(classes, first[index], second[index]), images))
    unseen = Change("unseen mean", old.unseen.mean, new.unseen.mean)
    return MethodChange(new.title, (old.seeds, new.seeds), unseen, domains)


def _counts(row: Row, domain: str, kept: PerImage) -> list[ImageCounts]:
    """One for each seed; none unless all seeds have them."""
    found = [kept.runs.get((run.method, run.seed), {}).get(domain) for run in row.runs]
    return [] if None in found else [each for each in found if each is not None]


def _images(domain: str, before: list[ImageCounts], after: list[ImageCounts]) -> list[Change]:
    if not before or not after:
        return []
    named = [(when, each) for when, seeds in (("the run before", before), ("this run", after)) for each in seeds]
    for other in named[1:]:
        check_same_images(domain, named[0], other)
    means = [np.mean([image_scores(each) for each in seeds], axis=0) for seeds in (before, after)]
    return _sorted(before[0].names, *means)


def _sorted(names: Sequence[str], before: NDArray[np.float64], after: NDArray[np.float64]) -> list[Change]:
    pairs = zip(names, before.tolist(), after.tolist(), strict=True)
    found = [Change(name, old, new) for name, old, new in pairs if not np.isnan(old) and not np.isnan(new)]
    return sorted(found, key=lambda change: (-change.points, change.name))
