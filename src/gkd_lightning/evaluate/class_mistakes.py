"""Which classes are taken for which, and how well each image was judged: from counts that are kept anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gkd_lightning.evaluate.confusion import iou, mean_over_classes
from gkd_lightning.evaluate.per_image import INTERSECTION, PREDICTED, TRUE, ImageCounts


@dataclass(frozen=True)
class Mistake:
    """Pixels of one class that were called another.

    Attributes:
        truth: name of the class that they are.
        taken_for: name of the class that they were called.
        of_mistakes: share of all wrong pixels of the domain, in percent.
        of_truth: share of the true class' pixels, in percent.
    """

    truth: str
    taken_for: str
    of_mistakes: float
    of_truth: float


def mistakes(matrix: Tensor, classes: Sequence[str], count: int) -> list[Mistake]:
    """The most frequent ones, most frequent first; fewer than `count` if there are no more.

    Args:
        matrix: int (C, C) pixels by [truth, prediction].
        classes: C names.
        count: how many at most.
    """
    true = matrix.sum(1)
    wrong = matrix.clone().fill_diagonal_(0)
    pixels, places = wrong.flatten().sort(descending=True, stable=True)
    total = max(1, int(wrong.sum()))
    found = []
    for number, place in zip(pixels[:count].tolist(), places[:count].tolist(), strict=True):
        if number == 0:
            break
        truth, taken_for = divmod(place, len(classes))
        share = 100 * number / int(true[truth])
        found.append(Mistake(classes[truth], classes[taken_for], 100 * number / total, share))
    return found


def image_scores(found: ImageCounts) -> NDArray[np.float64]:
    """Mean over the classes that an image shows or was said to show, in percent (N,); NaN where nothing is counted."""
    counts = torch.from_numpy(found.counts.astype(np.int64))
    scores = iou(counts[:, INTERSECTION], counts[:, PREDICTED], counts[:, TRUE])
    return np.asarray(mean_over_classes(scores).numpy())


def worst_images(found: ImageCounts, count: int) -> dict[str, float]:
    """Names and scores of the images with the lowest `image_scores`, lowest first."""
    scores = image_scores(found)
    order = [int(index) for index in np.argsort(scores, kind="stable") if not np.isnan(scores[index])]
    return {found.names[index]: float(scores[index]) for index in order[:count]}
