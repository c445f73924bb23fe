"""Several labelled sets as one: images are drawn in proportion to the sets' sizes (mmengine's ConcatDataset)."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from gkd_lightning.data.types import Image, Label, LabelSpace, SegmentationDataset
from gkd_lightning.errors import UserError


class Joined:
    """One data set after the other.

    Args:
        datasets: labelled sets with the same classes.

    Raises:
        UserError: none given, or their classes differ.
    """

    def __init__(self, datasets: list[SegmentationDataset]) -> None:
        if not datasets:
            raise UserError("datasets: none given; name at least one")
        for position, dataset in enumerate(datasets):
            if dataset.label_space.names != datasets[0].label_space.names:
                raise UserError(f"datasets[{position}]: its classes are not those of datasets[0]")
        self.datasets = datasets

    @property
    def label_space(self) -> LabelSpace:
        """The classes, which all sets share."""
        return self.datasets[0].label_space

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.datasets)

    def image(self, index: int) -> Image:
        """RGB uint8 (H, W, 3)."""
        dataset, inner = self._find(index)
        return dataset.image(inner)

    def label(self, index: int) -> Label:
        """Train ids uint8 (H, W)."""
        dataset, inner = self._find(index)
        return dataset.label(inner)

    def name(self, index: int) -> str:
        """The image's own name behind its set's position."""
        dataset, inner = self._find(index)
        return f"{self.datasets.index(dataset)}/{dataset.name(inner)}"

    def _find(self, index: int) -> tuple[SegmentationDataset, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        ends = list(accumulate(len(dataset) for dataset in self.datasets))
        which = bisect_right(ends, index)
        return self.datasets[which], index - (ends[which - 1] if which else 0)
