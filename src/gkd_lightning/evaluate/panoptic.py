"""Panoptic quality of a domain: which true segments were found, and how well (Kirillov et al., arXiv 1801.00868).

Counted by the rules of the authors' ``panopticapi``. torchmetrics' ``PanopticQuality`` counts alike but for one thing,
for which it cannot be used: it takes pixels that the *prediction* leaves empty for pixels without truth, so leaving
pixels out costs nothing. It also takes 8 seconds for an image of 2048x1024 pixels, on one core of a CPU with AVX2.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from gkd_lightning.data import INSTANCE
from gkd_lightning.evaluate.confusion import number_or_none

_WIDE = 2**32
PANOPTIC_COLUMNS = ("pq", "sq", "rq", "pq_things", "pq_stuff", "ap")
"""Scores of a `PanopticScore` that tables and files show."""


@dataclass(frozen=True)
class PanopticScore:
    """What is known of a domain's segments, by class; every score is derived from it.

    Attributes:
        classes: C class names.
        things: those that are counted one by one.
        overlap: sum over the matched segments of their intersection over union.
        matched: segments that were found: pairs of one class with an intersection over union above a half.
        wrong: predicted segments without a true one.
        missed: true segments without a predicted one.
        ap: mask AP of the things in percent, mean over the thresholds 0.50 to 0.95; None if it was not measured.
    """

    classes: tuple[str, ...]
    things: tuple[str, ...]
    overlap: tuple[float, ...]
    matched: tuple[int, ...]
    wrong: tuple[int, ...]
    missed: tuple[int, ...]
    ap: float | None = None

    def __str__(self) -> str:
        """For a terminal."""
        scores = {"PQ": self.pq, "SQ": self.sq, "RQ": self.rq, "things": self.pq_things, "stuff": self.pq_stuff}
        if self.ap is not None:
            scores["AP"] = self.ap
        return "  ".join(f"{name} {value:6.2f}" for name, value in scores.items())

    @property
    def pq(self) -> float:
        """Percent, mean over the classes that occur in truth or prediction; NaN if none does."""
        return self._mean(self.per_class, self.classes)

    @property
    def pq_things(self) -> float:
        """Over the things alone."""
        return self._mean(self.per_class, self.things)

    @property
    def pq_stuff(self) -> float:
        """Over the other classes alone."""
        return self._mean(self.per_class, [name for name in self.classes if name not in self.things])

    @property
    def sq(self) -> float:
        """Segmentation quality in percent: how well the matched segments fit; 0 for a class without any."""
        return self._mean([100 * over / max(n, 1) for over, n in self._found()], self.classes)

    @property
    def rq(self) -> float:
        """Recognition quality in percent: the F score of finding segments."""
        return self._mean(
            [200 * n / max(total, 1) for (_, n), total in zip(self._found(), self._totals(), strict=True)], self.classes
        )

    @property
    def per_class(self) -> list[float]:
        """PQ in percent, NaN for a class that is in neither truth nor prediction."""
        pairs = zip(self.overlap, self._totals(), strict=True)
        return [200 * over / total if total else math.nan for over, total in pairs]

    def asdict(self) -> dict[str, Any]:
        """Plain JSON values, the derived scores included for readers of the file."""
        derived = {name: getattr(self, name) for name in PANOPTIC_COLUMNS}
        return {
            **{name: None if value is None else number_or_none(value) for name, value in derived.items()},
            "things": list(self.things),
            "per_class": [number_or_none(value) for value in self.per_class],
            "overlap": list(self.overlap),
            "matched": list(self.matched),
            "wrong": list(self.wrong),
            "missed": list(self.missed),
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any], classes: Sequence[str]) -> PanopticScore:
        """Inverse of `asdict`; the derived scores are computed again."""
        counts = {name: tuple(int(n) for n in value[name]) for name in ("matched", "wrong", "missed")}
        overlap = tuple(float(over) for over in value["overlap"])
        return cls(tuple(classes), tuple(value["things"]), overlap, **counts, ap=value.get("ap"))

    def _found(self) -> list[tuple[float, int]]:
        return list(zip(self.overlap, self.matched, strict=True))

    def _totals(self) -> list[int]:
        """Predicted and true segments together; a matched pair is two."""
        return [2 * n + p + t for n, p, t in zip(self.matched, self.wrong, self.missed, strict=True)]

    def _mean(self, values: Sequence[float], names: Collection[str]) -> float:
        wanted = zip(values, self.classes, self._totals(), strict=True)
        chosen = [value for value, name, total in wanted if name in names and total]
        return sum(chosen) / len(chosen) if chosen else math.nan


class PanopticCounter(Metric):
    """Matched, wrong and missed segments of every class of a domain, and how well the matched ones fit.

    A true and a predicted segment of one class match if their intersection over union is above a half, of which there
    can be one. Pixels without truth belong to no union, and a predicted segment of which more than half lies on such
    pixels is not wrong. Things of a crowd are pixels without truth here.

    Args:
        num_classes: their number, C.
        ignore: code of pixels without truth, and of those without a predicted segment.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    overlap: Tensor
    counts: Tensor

    def __init__(self, num_classes: int, ignore: int = 255) -> None:
        super().__init__()
        self.num_classes, self.ignore = num_classes, ignore
        zeros = torch.zeros(num_classes, dtype=torch.float64)
        self.add_state("overlap", default=zeros, dist_reduce_fx="sum")
        self.add_state("counts", default=torch.zeros(3, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Count images, (B, H, W) codes each, `class + 256 * k`."""
        for predicted, true in zip(prediction, truth, strict=True):
            for kind, place, over in _compared(predicted, true, self.ignore):
                self.counts[place, kind] += 1
                self.overlap[kind] += over

    def compute(self) -> tuple[Tensor, Tensor]:
        """`overlap` (C,) float64 and `counts` (3, C) int64: matched, wrong, missed; sums over all ranks."""
        return self.overlap, self.counts


def _compared(prediction: Tensor, truth: Tensor, ignore: int) -> list[tuple[int, int, float]]:
    """(class, 0 matched | 1 wrong | 2 missed, intersection over union if matched) of all segments of one image."""
    pairs, sizes = (prediction.long() * _WIDE + truth.long()).unique(return_counts=True)
    shared = {
        (int(pair) // _WIDE, int(pair) % _WIDE): size for pair, size in zip(pairs.tolist(), sizes.tolist(), strict=True)
    }
    predicted: dict[int, int] = {}
    true: dict[int, int] = {}
    empty: dict[int, int] = {}
    for (mine, theirs), size in shared.items():
        predicted[mine] = predicted.get(mine, 0) + size
        true[theirs] = true.get(theirs, 0) + size
        if theirs == ignore:
            empty[mine] = size
    predicted.pop(ignore, None)
    true.pop(ignore, None)
    found = []
    for (mine, theirs), size in shared.items():
        if mine == ignore or theirs == ignore or mine % INSTANCE != theirs % INSTANCE:
            continue
        fit = size / (predicted[mine] - empty.get(mine, 0) + true[theirs] - size)
        if fit > 0.5:
            found.append((mine, theirs, fit))
    for mine, theirs, _ in found:
        del predicted[mine], true[theirs]
    wrong = [mine for mine, size in predicted.items() if 2 * empty.get(mine, 0) <= size]
    return [
        *((mine % INSTANCE, 0, fit) for mine, _, fit in found),
        *((mine % INSTANCE, 1, 0.0) for mine in wrong),
        *((theirs % INSTANCE, 2, 0.0) for theirs in true),
    ]


def panoptic_score(
    overlap: Tensor, counts: Tensor, classes: Sequence[str], things: Sequence[str], ap: float | None = None
) -> PanopticScore:
    """From what a `PanopticCounter` found."""
    matched, wrong, missed = (tuple(row) for row in counts.cpu().tolist())
    return PanopticScore(tuple(classes), tuple(things), tuple(overlap.cpu().tolist()), matched, wrong, missed, ap)
