"""Does the metric work on this dataset? The truth as prediction must score 100, shuffled truth must not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from gkd_lightning.data import SegmentationDataset
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate.confusion import ConfusionMatrix, mean_iou

LOW = 60.0  # shuffled labels above this mean: almost every pixel is of one class


@dataclass(frozen=True)
class SelfTest:
    """mIoU in percent of the truth as its own prediction, and of the truth with its pixels shuffled."""

    truth: float
    shuffled: float
    images: int

    @property
    def problem(self) -> str | None:
        """One line that says what is wrong with the labels, None if nothing is."""
        if np.isnan(self.truth):
            return f"none of {self.images} labels has a pixel with truth, check the class map"
        if self.truth != 100.0:
            return f"the truth as prediction scores {self.truth:.2f} instead of 100, labels change between two reads"
        if self.shuffled > LOW:
            return f"shuffled labels still score {self.shuffled:.0f}, nearly all pixels are of one class"
        return None


def self_test(dataset: SegmentationDataset, limit: int | None = None) -> SelfTest:
    """Score the labels of `dataset` (the first `limit`) against themselves through the metric of the evaluation.

    Labels are read twice, so that one which changes between reads is found too.

    Raises:
        UserError: no label, or a label id outside the classes (names the image).
    """
    count = len(dataset) if limit is None else min(limit, len(dataset))
    if count == 0:
        raise UserError("the dataset holds no labelled image, check its folders")
    space = dataset.label_space
    truth = ConfusionMatrix(len(space), space.ignore)
    shuffled = ConfusionMatrix(len(space), space.ignore)
    rng = np.random.default_rng(0)
    for index in range(count):
        label = torch.from_numpy(np.array(dataset.label(index)))
        again = torch.from_numpy(np.array(dataset.label(index))).long()
        prediction = torch.where(again == space.ignore, 0, again)  # a method predicts a class everywhere
        name = [dataset.name(index)]
        truth.update(prediction, label, name)
        order = torch.from_numpy(rng.permutation(label.numel()))
        shuffled.update(prediction.flatten()[order].reshape(label.shape), label, name)
    return SelfTest(mean_iou(truth.compute()), mean_iou(shuffled.compute()), count)
