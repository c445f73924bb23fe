"""Paired bootstrap over images: how much a difference between methods depends on which images were judged.

Images are drawn with replacement within each domain, the same ones for all methods and seeds; mIoU is computed again
from the drawn images' summed counts (Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13: percentile
intervals). The trained weights stay as they are, so an interval says nothing about training once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from gkd_lightning.evaluate.confusion import iou, mean_over_classes
from gkd_lightning.evaluate.pairing import Paired
from gkd_lightning.evaluate.per_image import INTERSECTION, PREDICTED, TRUE

RESAMPLES = 2000
CONFIDENCE = 95.0
_AT_ONCE = 250  # resamples whose weights are in memory together: 2 MB for each thousand images

Scores = NDArray[np.float64]
Sign = Literal["above", "below", "not separable"]


@dataclass(frozen=True)
class Interval:
    """What the resamples say about a difference.

    Attributes:
        low: lower end of the percentile interval, points of mIoU.
        high: its upper end.
        positive: share of the resamples in which the difference is above 0, in percent; where it is 0 half of them, so
            that a method is above itself in 50 % of them.
    """

    low: float
    high: float
    positive: float

    @classmethod
    def of(cls, differences: Scores, confidence: float = CONFIDENCE) -> Interval | None:
        """Of one difference per resample.

        Those without a score (no class in any drawn image) are left out; None if no other is left.
        """
        defined = differences[~np.isnan(differences)]
        if not len(defined):
            return None
        tail = (100 - confidence) / 2
        low, high = np.percentile(defined, [tail, 100 - tail])
        above = (defined > 0).mean() + (defined == 0).mean() / 2
        return cls(float(low), float(high), 100 * float(above))

    @property
    def sign(self) -> Sign:
        """`above` or `below` if the interval leaves 0 out."""
        return "above" if self.low > 0 else "below" if self.high < 0 else "not separable"


@dataclass(frozen=True, eq=False)
class Resampled:
    """mIoU in percent by unseen domain and method, mean over seeds, float64 (resamples,)."""

    domains: dict[str, dict[str, Scores]]

    def differences(self, method: str, reference: str) -> dict[str, Scores]:
        """`method` minus `reference` by domain; empty if one of the two was not resampled."""
        if not all({method, reference} <= scores.keys() for scores in self.domains.values()):
            return {}
        return {domain: scores[method] - scores[reference] for domain, scores in self.domains.items()}


def bootstrap(paired: Paired, resamples: int = RESAMPLES, seed: int = 0) -> Resampled:
    """Score every method on `resamples` draws of each domain's images; each domain has a stream of its own."""
    domains = {}
    for place, (domain, methods) in enumerate(paired.counts.items()):
        scores: dict[str, list[Scores]] = {method: [] for method in methods}
        images = paired.images.get(domain, 0)
        for weights in drawn(images, resamples, np.random.default_rng([seed, place])):
            for method, runs in methods.items():
                scores[method].append(np.mean([weighted_miou(weights, counts) for counts in runs], axis=0))
        domains[domain] = {method: np.concatenate(parts) for method, parts in scores.items()}
    return Resampled(domains)


def drawn(images: int, resamples: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """How often each of N images is drawn when N are drawn with replacement: (r, N) per chunk, R rows in all."""
    for start in range(0, resamples, _AT_ONCE):
        rows = min(_AT_ONCE, resamples - start)
        places = rng.integers(max(images, 1), size=(rows, images)) + images * np.arange(rows)[:, None]
        yield np.bincount(places.ravel(), minlength=rows * images).reshape(rows, images)


def weighted_miou(weights: NDArray[np.int64], counts: NDArray[np.uint32]) -> Scores:
    """mIoU in percent, float64 (R,), when image n of (N, 3, C) `counts` counts `weights[r, n]` times.

    By the rules of `evaluate.confusion`; NaN where no class occurs.
    """
    images, rows, classes = counts.shape
    # float64 holds whole numbers up to 2**53 exactly, far above the pixels of any data set
    sums = weights.astype(np.float64) @ counts.reshape(images, rows * classes).astype(np.float64)
    summed = torch.from_numpy(sums.reshape(-1, rows, classes))
    scores = iou(summed[:, INTERSECTION], summed[:, PREDICTED], summed[:, TRUE])
    return np.asarray(mean_over_classes(scores).numpy())
