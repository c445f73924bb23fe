"""One integer confusion matrix per domain, and the scores that follow from it.

All scores are percentages. A class that is in neither truth nor prediction has no score (NaN) and is left
out of means; a class that is predicted but never true scores 0 (as mmsegmentation's ``iou_metric.py`` does).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate.tempering import TemperatureCounts
from gkd_lightning.evaluate.trust import Trust
from gkd_lightning.evaluate.unknown import Unknown


def confusion_matrix(prediction: Tensor, label: Tensor, num_classes: int, ignore: int = 255) -> Tensor:
    """Pixels counted by [truth, prediction].

    Args:
        prediction: integer class ids 0 .. num_classes - 1, any shape.
        label: integer class ids of the same shape; `ignore` marks pixels without truth.
        num_classes: their number, C.
        ignore: the id that is not counted.

    Returns:
        int64 (C, C).

    Raises:
        UserError: an id outside the classes.
    """
    if prediction.shape != label.shape:
        raise ValueError(f"prediction {tuple(prediction.shape)} and label {tuple(label.shape)} differ in shape")
    ignored = label == ignore
    rows = label.to(torch.int32).masked_fill(ignored, 0)
    for ids, what in ((rows, "label"), (prediction, "predicted")):
        low, high = (int(value) for value in torch.aminmax(ids)) if ids.numel() else (0, 0)
        if low < 0 or high >= num_classes:
            raise UserError(
                f"{what} id {low if low < 0 else high} is outside the {num_classes} classes "
                f"(0 to {num_classes - 1}, {ignore} = no truth): check the class map of the dataset"
            )
    rows.masked_fill_(ignored, num_classes)  # a row of their own, cut off below
    pairs = (rows * num_classes + prediction).flatten()
    counts = torch.bincount(pairs, minlength=(num_classes + 1) * num_classes)
    return counts.reshape(num_classes + 1, num_classes)[:num_classes]


class ConfusionMatrix(Metric):
    """Confusion matrix of a whole domain: an int64 (C, C) state that ranks add up.

    After `compute()`, `num_images` is the number of images that all ranks together counted.

    Args:
        num_classes: their number, C.
        ignore: label id of pixels without truth.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False
    matrix: Tensor
    images: Tensor
    trust: Trust | None = None
    """What is known of the confidence after `compute()`; here nothing."""
    at_temperatures: TemperatureCounts | None = None
    """And of what it would be."""
    shape_counts: tuple[Tensor, Tensor] | None = None
    """What `Shapes.of` takes, where it was counted."""
    unknown: Unknown | None = None
    """What is known of unknown objects after `compute()`; here nothing."""

    def __init__(self, num_classes: int, ignore: int = 255) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.ignore = ignore
        zeros = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.add_state("matrix", default=zeros, dist_reduce_fx="sum")
        self.num_images = 0
        self.add_state("images", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, label: Tensor, names: Sequence[str] = ()) -> None:
        """Count one image (H, W) or a batch (B, H, W); `names` make the error message say which image."""
        batch = [(prediction, label)] if label.ndim < 3 else list(zip(prediction, label, strict=True))
        for index, (predicted, truth) in enumerate(batch):
            try:
                self.matrix += confusion_matrix(predicted, truth, self.num_classes, self.ignore)
            except UserError as error:
                if index >= len(names):
                    raise
                raise UserError(f"{names[index]}: {error}") from None
        self.images += len(batch)

    def compute(self) -> Tensor:
        """int64 (C, C), rows are the truth, columns the prediction; of one class torchmetrics makes a scalar of it."""
        self.num_images = int(self.images)  # inside compute() the states are the sums over all ranks
        return self.matrix


def iou_per_class(matrix: Tensor) -> Tensor:
    """Intersection over union in percent, float64 (C,); NaN for a class in neither truth nor prediction."""
    matrix = torch.atleast_2d(matrix)
    return iou(matrix.diagonal(), matrix.sum(0), matrix.sum(1))


def iou(intersection: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
    """Intersection over union in percent from pixel counts of any equal shapes, float64; NaN where all are 0."""
    both = intersection.double()
    return 100 * both / (predicted.double() + true.double() - both)  # 0 / 0 is the NaN that is meant


def mean_iou(matrix: Tensor) -> float:
    """mIoU in percent over the classes that occur in truth or prediction; NaN for an empty matrix."""
    return float(mean_over_classes(iou_per_class(matrix)))


def mean_over_classes(scores: Tensor) -> Tensor:
    """Mean of (..., C) over the classes that have a score, float64 (...); NaN where none has."""
    return scores.nanmean(-1)


def mean_iou_present(matrix: Tensor) -> float:
    """mIoU in percent over the classes in the truth, so that one stray pixel cannot cost a class."""
    return float(iou_per_class(matrix)[torch.atleast_2d(matrix).sum(1) > 0].mean())


def accuracy(matrix: Tensor) -> float:
    """Share of all counted pixels that are right, in percent; NaN for an empty matrix."""
    matrix = torch.atleast_2d(matrix).double()
    return float(100 * matrix.trace() / matrix.sum())


def number_or_none(value: float) -> float | None:
    """For JSON, which has no NaN."""
    return None if math.isnan(value) else value
