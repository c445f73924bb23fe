"""Does the metric work on this dataset? The truth as prediction must score 100, shuffled truth must not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from gkd_lightning.data import SegmentationDataset, evenly
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate.confusion import ConfusionMatrix, mean_iou


@dataclass(frozen=True)
class SelfTest:
    """mIoU in percent of the truth as its own prediction, and of the truth with its pixels shuffled."""

    truth: float
    shuffled: float
    images: int
    only: str | None = None
    """The one class that occurs, where there are others."""
    ignored: float = 0.0
    """Share of the pixels without truth."""

    @property
    def problem(self) -> str | None:
        """One line that says what is wrong with the labels, None if nothing is."""
        if np.isnan(self.truth):
            return f"none of {self.images} labels has a pixel with truth, check the class map"
        if self.truth != 100.0:
            return f"the truth as prediction scores {self.truth:.2f} instead of 100, labels change between two reads"
        if self.only is not None:
            void = f", and {self.ignored:.0%} of the pixels are ignored" if self.ignored else ""
            return (
                f"of all classes only '{self.only}' occurs in {self.images} labels{void}; if another id in the files, "
                "such as 255, is a class, say so in class_map: {0: 0, 255: 1}"
            )
        return None


def self_test(dataset: SegmentationDataset, limit: int | None = None) -> SelfTest:
    """Score the labels of `dataset` (`limit` of them, spread over it) against themselves, as an evaluation scores.

    Labels are read twice, so that one which changes between reads is found too.

    Raises:
        UserError: no label, or a label id outside the classes (names the image).
    """
    if len(dataset) == 0:
        raise UserError("the dataset holds no labelled image, check its folders")
    space = dataset.label_space
    truth, shuffled = (ConfusionMatrix(len(space), space.ignore) for _ in range(2))
    rng = np.random.default_rng(0)
    chosen = evenly(dataset, len(dataset) if limit is None else limit)
    pixels = 0
    for index in chosen:
        label = torch.from_numpy(np.array(dataset.label(index)))
        again = torch.from_numpy(np.array(dataset.label(index))).long()
        prediction = torch.where(again == space.ignore, 0, again)  # a method predicts a class everywhere
        name = [dataset.name(index)]
        truth.update(prediction, label, name)
        order = torch.from_numpy(rng.permutation(label.numel()))
        pixels += label.numel()
        shuffled.update(prediction.flatten()[order].reshape(label.shape), label, name)
    matrix = torch.atleast_2d(truth.compute())
    occurring = matrix.sum(1).nonzero().flatten().tolist()
    return SelfTest(
        truth=mean_iou(matrix),
        shuffled=mean_iou(shuffled.compute()),
        images=len(chosen),
        only=space.names[occurring[0]] if len(occurring) == 1 < len(space) else None,
        ignored=1 - float(matrix.sum()) / pixels,
    )
