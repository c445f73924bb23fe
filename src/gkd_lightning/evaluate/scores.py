"""The score of one domain, and what several domains say together: unseen mean, gap, share recovered."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate.confusion import accuracy, iou_per_class, mean_iou, mean_iou_present, number_or_none
from gkd_lightning.evaluate.panoptic import PanopticScore
from gkd_lightning.evaluate.shapes import Shapes
from gkd_lightning.evaluate.tempering import Tempered
from gkd_lightning.evaluate.trust import Trust
from gkd_lightning.evaluate.unknown import Unknown


@dataclass(frozen=True)
class DomainScore:
    """One domain's confusion matrix; every score is derived from it, so nothing can disagree.

    Attributes:
        domain: its name, such as ``night``. A domain is a dataset, never a part of a path.
        seen: True for a source domain of the benchmark (in-domain), False for a target. It splits the
            domains, not the methods: an oracle that trained on targets keeps the same split.
        classes: C class names.
        confusion: C x C pixel counts [truth][prediction].
        images: how many images were counted.
        panoptic: what was found of its segments; None where they were not judged.
        trust: whether its confidence can be trusted; None where it was not judged.
        tempered: and what a temperature that is fitted on the source does to it; None without a source, too.
        shapes: how contours and things of each size are met; None where it was not asked for.
        unknown: whether objects that no class is for are met with less confidence; None where there are none.
    """

    domain: str
    seen: bool
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    images: int
    panoptic: PanopticScore | None = None
    trust: Trust | None = None
    tempered: Tempered | None = None
    shapes: Shapes | None = None
    unknown: Unknown | None = None

    def __post_init__(self) -> None:
        sizes = {len(self.confusion), *(len(row) for row in self.confusion)}
        if sizes != {len(self.classes)}:
            raise UserError(
                f"domain {self.domain}: {len(self.classes)} class names do not fit the confusion matrix, "
                "was the file edited?"
            )

    @property
    def matrix(self) -> Tensor:
        """int64 (C, C)."""
        return torch.tensor(self.confusion, dtype=torch.int64)

    @property
    def iou(self) -> list[float | None]:
        """Per class in percent; None for a class that is neither in the truth nor predicted."""
        return [number_or_none(value) for value in iou_per_class(self.matrix).tolist()]

    @property
    def miou(self) -> float:
        """Percent; NaN if no pixel was counted."""
        return mean_iou(self.matrix)

    @property
    def miou_present(self) -> float:
        """Percent, over the classes of the truth only; NaN if no pixel was counted."""
        return mean_iou_present(self.matrix)

    @property
    def accuracy(self) -> float:
        """Share of right pixels in percent; NaN if no pixel was counted."""
        return accuracy(self.matrix)

    @property
    def pq(self) -> float:
        """Panoptic quality in percent; NaN where segments were not judged."""
        return math.nan if self.panoptic is None else self.panoptic.pq

    def asdict(self) -> dict[str, Any]:
        """Plain JSON values, the derived scores included for readers of the file."""
        further = {
            name: part.asdict()
            for name in ("panoptic", "trust", "tempered", "shapes", "unknown")
            if (part := getattr(self, name)) is not None
        }
        return {
            "domain": self.domain,
            "seen": self.seen,
            "images": self.images,
            "miou": number_or_none(self.miou),
            "miou_present": number_or_none(self.miou_present),
            "accuracy": number_or_none(self.accuracy),
            "classes": list(self.classes),
            "iou": self.iou,
            "confusion": [list(row) for row in self.confusion],
            **further,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> DomainScore:
        """Inverse of `asdict`; the derived scores are computed again."""
        rows = tuple(tuple(int(count) for count in row) for row in value["confusion"])
        classes = tuple(value["classes"])
        segments = value.get("panoptic")
        panoptic = None if segments is None else PanopticScore.from_dict(segments, classes)
        trust = Trust.from_dict(value["trust"]) if "trust" in value else None
        tempered = Tempered.from_dict(value["tempered"]) if "tempered" in value else None
        shapes = Shapes.from_dict(value["shapes"]) if "shapes" in value else None
        unknown = Unknown.from_dict(value["unknown"]) if "unknown" in value else None
        judged = panoptic, trust, tempered, shapes, unknown
        return cls(value["domain"], value["seen"], classes, rows, value["images"], *judged)


def from_confusion(
    domain: str,
    matrix: Tensor,
    classes: Sequence[str],
    images: int,
    seen: bool = False,
    panoptic: PanopticScore | None = None,
    trust: Trust | None = None,
    tempered: Tempered | None = None,
    shapes: Shapes | None = None,
    unknown: Unknown | None = None,
) -> DomainScore:
    """Score of `domain` from an int64 (C, C) matrix [truth, prediction]."""
    rows = tuple(tuple(row) for row in torch.atleast_2d(matrix).cpu().tolist())
    return DomainScore(domain, seen, tuple(classes), rows, images, panoptic, trust, tempered, shapes, unknown)


Measure = Callable[[DomainScore], float]
"""A domain's score in percent: what a table is about."""


def miou_of(score: DomainScore) -> float:
    """What tables are about unless told."""
    return score.miou


def pq_of(score: DomainScore) -> float:
    """The table of segments."""
    return score.pq


def ece_of(score: DomainScore) -> float:
    """Expected calibration error in percent; NaN where confidence was not judged."""
    return math.nan if score.trust is None else score.trust.ece


def boundary_of(score: DomainScore) -> float:
    """Mean boundary IoU in percent; NaN where shapes were not judged."""
    return math.nan if score.shapes is None else score.shapes.boundary_miou


def unseen_mean(domains: Iterable[DomainScore], measure: Measure = miou_of) -> float:
    """Mean score in percent over the target domains; NaN if there is none."""
    return _mean(measure(score) for score in domains if not score.seen)


def in_domain(domains: Iterable[DomainScore], measure: Measure = miou_of) -> float:
    """Mean score in percent over the source domains; NaN if none was evaluated."""
    return _mean(measure(score) for score in domains if score.seen)


def generalization_gap(domains: Sequence[DomainScore], measure: Measure = miou_of) -> float:
    """In-domain minus unseen mean, in points: what is lost on leaving home."""
    return in_domain(domains, measure) - unseen_mean(domains, measure)


def share_recovered(method: float, none: float, teacher: float) -> float:
    """How much of the way from `none` (no distillation) to `teacher` a method goes, in percent.

    NaN where the teacher is not above `none`: there is nothing to recover.
    """
    return 100 * (method - none) / (teacher - none) if teacher > none else math.nan


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else math.nan
