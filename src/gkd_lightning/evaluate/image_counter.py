"""The confusion matrix of a domain that also remembers what each image contributed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from gkd_lightning.evaluate.confusion import ConfusionMatrix
from gkd_lightning.evaluate.per_image import ImageCounts

_END = "\0"  # the one character that no file's name holds


class ImageCounter(ConfusionMatrix):
    """A `ConfusionMatrix` whose ranks also gather every image's counts.

    After `compute()`, `image_counts` are those of all ranks together; they sum to the matrix's margins.
    """

    margins: list[Tensor] | Tensor
    letters: list[Tensor] | Tensor

    def __init__(self, num_classes: int, ignore: int = 255) -> None:
        super().__init__(num_classes, ignore)
        self.add_state("margins", default=[], dist_reduce_fx="cat")
        self.add_state("letters", default=[], dist_reduce_fx="cat")  # names as bytes: ranks exchange tensors only
        self.image_counts = self._none()

    def update(self, prediction: Tensor, label: Tensor, names: Sequence[str] = ()) -> None:
        """Count a batch (B, H, W), B may be 0, of images whose B names are unique in the domain."""
        margins = [torch.zeros(0, 3, self.num_classes, dtype=torch.int64, device=self.matrix.device)]
        for predicted, truth, name in zip(prediction, label, names, strict=True):
            before = self.matrix.clone()
            super().update(predicted, truth, [name])
            margins.append(margins_of(self.matrix - before)[None])
        assert isinstance(self.margins, list)
        assert isinstance(self.letters, list)
        # also for an empty batch: a rank that only pads must have something of the right shape to gather
        self.margins.append(torch.cat(margins))
        letters = "".join(name + _END for name in names).encode("utf-8", "surrogateescape")
        self.letters.append(torch.tensor(list(letters), dtype=torch.uint8, device=self.matrix.device))

    def compute(self) -> Tensor:
        """int64 (C, C), rows are the truth, columns the prediction."""
        self.image_counts = self._none()
        if len(self.letters):
            letters = bytes(dim_zero_cat(self.letters).tolist()).decode("utf-8", "surrogateescape")
            self.image_counts = ImageCounts.of(letters.split(_END)[:-1], dim_zero_cat(self.margins).cpu().numpy())
        return super().compute()

    def _none(self) -> ImageCounts:
        return ImageCounts((), np.zeros((0, 3, self.num_classes), np.uint32))


def margins_of(matrix: Tensor) -> Tensor:
    """Intersection, predicted and true pixels of each class, (3, C), of a confusion matrix (C, C)."""
    return torch.stack([matrix.diagonal(), matrix.sum(0), matrix.sum(1)])
