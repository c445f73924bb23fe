"""Several sets as one: images are drawn in proportion to the sets' sizes (mmengine's ConcatDataset)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from gkd_lightning.data.segments import has_instances
from gkd_lightning.data.types import Image, ImageDataset, Instances, Label, SegmentationDataset
from gkd_lightning.errors import UserError

D = TypeVar("D", bound=ImageDataset)


class _InARow(Generic[D]):
    def __init__(self, datasets: Sequence[D]) -> None:
        if not datasets:
            raise UserError("datasets: none given; name at least one")
        self.datasets = list(datasets)

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.datasets)

    def image(self, index: int) -> Image:
        """RGB uint8 (H, W, 3)."""
        which, inner = self._find(index)
        return self.datasets[which].image(inner)

    def name(self, index: int) -> str:
        """The image's own name behind its set's position."""
        which, inner = self._find(index)
        return f"{which}/{self.datasets[which].name(inner)}"

    def _find(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        ends = list(accumulate(len(dataset) for dataset in self.datasets))
        which = bisect_right(ends, index)
        return which, index - (ends[which - 1] if which else 0)


class JoinedImages(_InARow[ImageDataset]):
    """One set of images after the other, for stage 1: no label is looked at, so classes may differ or be missing.

    Args:
        datasets: any sets of images, such as a proxy and a source.

    Raises:
        UserError: none given.
    """

    def __init__(self, datasets: list[ImageDataset]) -> None:
        super().__init__(datasets)


class Joined(_InARow[SegmentationDataset]):
    """One labelled set after the other.

    Args:
        datasets: labelled sets with the same classes.

    Raises:
        UserError: none given, or their classes differ.
    """

    def __init__(self, datasets: list[SegmentationDataset]) -> None:
        super().__init__(datasets)
        self.label_space = datasets[0].label_space
        for position, dataset in enumerate(datasets):
            if dataset.label_space.names != self.label_space.names:
                raise UserError(f"datasets[{position}]: its classes are not those of datasets[0]")

    def label(self, index: int) -> Label:
        """Train ids uint8 (H, W)."""
        which, inner = self._find(index)
        return self.datasets[which].label(inner)

    @property
    def has_instances(self) -> bool:
        """Whether all sets have them."""
        return all(has_instances(dataset) for dataset in self.datasets)

    def instances(self, index: int) -> Instances:
        """Instances int32 (H, W)."""
        which, inner = self._find(index)
        found: Instances = self.datasets[which].instances(inner)  # type: ignore[attr-defined]
        return found
