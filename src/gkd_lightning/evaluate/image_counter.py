"""The confusion matrix of a domain that also remembers what each image contributed, and how sure the pixels were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from gkd_lightning.evaluate.confidence_levels import BINS, LEVELS, bin_sums, brier_sum, confidence, level_counts
from gkd_lightning.evaluate.confusion import ConfusionMatrix
from gkd_lightning.evaluate.per_image import ImageCounts
from gkd_lightning.evaluate.shape_counts import SIZES, boundary_counts, size_counts
from gkd_lightning.evaluate.temperature_grid import TEMPERATURES, sampled, temperature_counts
from gkd_lightning.evaluate.tempering import TemperatureCounts
from gkd_lightning.evaluate.trust import trust_of
from gkd_lightning.evaluate.unknown import Unknown

_END = "\0"  # the one character that no file's name holds


class ImageCounter(ConfusionMatrix):
    """A `ConfusionMatrix` whose ranks also gather every image's counts, and add up how often each confidence is right.

    After `compute()`, `image_counts` are those of all ranks together; they sum to the matrix's margins and to the bins
    of `trust`, which is None if no scores were given, as are the counts `at_temperatures`.

    Args:
        num_classes: their number, C.
        ignore: label id of pixels without truth.
        shapes: whether contours and parts of each size are counted too.
    """

    margins: list[Tensor] | Tensor
    letters: list[Tensor] | Tensor
    bins: list[Tensor] | Tensor
    levels: Tensor
    brier: Tensor
    heated: list[Tensor] | Tensor
    losses: Tensor
    contours: Tensor
    parts: Tensor
    strangers: Tensor

    def __init__(self, num_classes: int, ignore: int = 255, shapes: bool = False) -> None:
        super().__init__(num_classes, ignore)
        self.shapes = shapes
        self.add_state("margins", default=[], dist_reduce_fx="cat")
        self.add_state("letters", default=[], dist_reduce_fx="cat")  # names as bytes: ranks exchange tensors only
        self.add_state("bins", default=[], dist_reduce_fx="cat")
        self.add_state("levels", default=torch.zeros(2, LEVELS, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("brier", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("heated", default=[], dist_reduce_fx="cat")
        self.add_state("losses", default=torch.zeros(len(TEMPERATURES), dtype=torch.int64), dist_reduce_fx="sum")
        contours = torch.zeros(3, num_classes, dtype=torch.int64)
        self.add_state("contours", default=contours, dist_reduce_fx="sum")
        parts = torch.zeros(3, len(SIZES), num_classes, dtype=torch.int64)
        self.add_state("parts", default=parts, dist_reduce_fx="sum")
        self.add_state("strangers", default=torch.zeros(LEVELS, dtype=torch.int64), dist_reduce_fx="sum")
        self.image_counts = self._none()
        self._places: dict[str, int] = {}
        self._heated: NDArray[np.int64] | None = None

    def update(
        self,
        prediction: Tensor,
        label: Tensor,
        names: Sequence[str] = (),
        scores: Sequence[Tensor] | None = None,
        unknown: Tensor | None = None,
    ) -> None:
        """Count a batch (B, H, W), B may be 0, of images whose B names are unique in the domain.

        Args:
            prediction: see `confusion_matrix`.
            label: see `confusion_matrix`.
            names: of the images.
            scores: of each image (K, H, W), of which `prediction` is the arg max; None if they are not known.
            unknown: bool (B, H, W), pixels of objects that no class is for, if the domain knows of them.
        """
        place = self.matrix.device
        margins = [torch.zeros(0, 3, self.num_classes, dtype=torch.int64, device=place)]
        bins = [torch.zeros(0, BINS, 3, dtype=torch.int64, device=place)]
        heated = [torch.zeros(0, len(TEMPERATURES), BINS, 3, dtype=torch.int64, device=place)]
        for index, (predicted, truth, name) in enumerate(zip(prediction, label, names, strict=True)):
            before = self.matrix.clone()
            super().update(predicted, truth, [name])
            margins.append(margins_of(self.matrix - before)[None])
            if self.shapes:
                self.contours += boundary_counts(predicted, truth, self.num_classes, self.ignore)
                self.parts += size_counts(predicted, truth, self.num_classes, self.ignore)
            if scores is not None:
                strange = None if unknown is None else unknown[index]
                of_image, at_each = self._sure(scores[index], predicted, truth, name, strange)
                bins.append(of_image[None])
                heated.append(at_each[None])
        assert isinstance(self.margins, list)
        assert isinstance(self.letters, list)
        assert isinstance(self.bins, list)
        assert isinstance(self.heated, list)
        # also for an empty batch: a rank that only pads must have something of the right shape to gather
        self.margins.append(torch.cat(margins))
        self.bins.append(torch.cat(bins))
        self.heated.append(torch.cat(heated))
        letters = "".join(name + _END for name in names).encode("utf-8", "surrogateescape")
        self.letters.append(torch.tensor(list(letters), dtype=torch.uint8, device=place))

    def compute(self) -> Tensor:
        """int64 (C, C), rows are the truth, columns the prediction."""
        self.image_counts, self._heated = self._none(), None
        at_each = np.zeros((len(TEMPERATURES), BINS, 3), np.int64)
        if len(self.letters):
            letters = bytes(dim_zero_cat(self.letters).tolist()).decode("utf-8", "surrogateescape")
            states = self.margins, self.bins, self.heated
            counts, bins, heated = (dim_zero_cat(part).cpu().numpy() for part in states)
            names = letters.split(_END)[:-1]
            self.image_counts = ImageCounts.of(names, counts, bins if len(bins) else None)
            self._places, self._heated = {name: place for place, name in enumerate(names)}, heated
            at_each = heated.sum(0)
        self.trust = trust_of(self.levels, int(self.brier))
        self.unknown = Unknown.of(self.strangers, self.levels)
        all_of_them = TemperatureCounts(at_each, self.losses.cpu().numpy().copy())
        self.at_temperatures = None if self.trust is None else all_of_them
        self.shape_counts = (self.contours.cpu(), self.parts.cpu()) if self.shapes else None
        return super().compute()

    def remember(self, temperature: float) -> None:
        """Let `image_counts` hold the bins at the temperature that was fitted; those at the others are forgotten.

        Args:
            temperature: one of `TEMPERATURES`, known once all domains are computed.
        """
        assert self._heated is not None
        rows = [self._places[name] for name in self.image_counts.names]
        tempered = self._heated[rows, TEMPERATURES.index(temperature)]
        self.image_counts, self._heated = replace(self.image_counts, tempered=tempered), None

    def _sure(
        self, scores: Tensor, prediction: Tensor, label: Tensor, name: str, unknown: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Add one image's confidence; returns its bins, as they are and at every temperature."""
        counted, right = label != self.ignore, prediction == label
        sure = confidence(scores[None])[0]
        levels = level_counts(sure, right, counted)
        if unknown is not None:
            self.strangers += level_counts(sure, torch.zeros_like(unknown), unknown)[0]
        self.levels += levels
        self.brier += brier_sum(scores, label, counted)
        heated, losses = temperature_counts(*sampled(name, scores, label, right, counted))
        self.losses += losses
        return bin_sums(levels), heated

    def _none(self) -> ImageCounts:
        return ImageCounts((), np.zeros((0, 3, self.num_classes), np.uint32))


def margins_of(matrix: Tensor) -> Tensor:
    """Intersection, predicted and true pixels of each class, (3, C), of a confusion matrix (C, C)."""
    return torch.stack([matrix.diagonal(), matrix.sum(0), matrix.sum(1)])
