"""Several sets as one: images are drawn in proportion to the sets' sizes (mmengine's ConcatDataset), or repeated."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from gkd_lightning.data.segments import has_instances
from gkd_lightning.data.types import Image, ImageDataset, Instances, Label, SegmentationDataset
from gkd_lightning.data.unknown import UnknownPixels, has_unknown
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Count, Ranged

D = TypeVar("D", bound=ImageDataset)


class _InARow(Ranged, Generic[D]):
    repeats: list[int]
    """How often each set is gone through."""

    def __init__(self, datasets: Sequence[D], repeats: list[int] | None = None) -> None:
        if not datasets:
            raise UserError("datasets: none given; name at least one")
        if repeats is not None and len(repeats) != len(datasets):
            raise UserError(f"repeats: {len(repeats)} numbers for {len(datasets)} datasets; give one for each")
        self.datasets, self.repeats = list(datasets), repeats or [1] * len(datasets)

    def __len__(self) -> int:
        return sum(self._lengths())

    def _lengths(self) -> list[int]:
        return [len(dataset) * times for dataset, times in zip(self.datasets, self.repeats, strict=True)]

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
        ends = list(accumulate(self._lengths()))
        which = bisect_right(ends, index)
        return which, (index - (ends[which - 1] if which else 0)) % len(self.datasets[which])


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
        repeats: how often each is gone through, so that a small one is drawn as often as a larger one; once if missing.

    Raises:
        UserError: none given, their classes differ, or `repeats` is not one number for each.
    """

    def __init__(self, datasets: list[SegmentationDataset], repeats: list[Count] | None = None) -> None:
        super().__init__(datasets, repeats)
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

    @property
    def has_unknown(self) -> bool:
        """Whether all sets know of unknown objects."""
        return all(has_unknown(dataset) for dataset in self.datasets)

    def unknown(self, index: int) -> UnknownPixels:
        """Pixels of objects that no class is for, bool (H, W)."""
        which, inner = self._find(index)
        found: UnknownPixels = self.datasets[which].unknown(inner)  # type: ignore[attr-defined]
        return found

    def instances(self, index: int) -> Instances:
        """Instances int32 (H, W)."""
        which, inner = self._find(index)
        found: Instances = self.datasets[which].instances(inner)  # type: ignore[attr-defined]
        return found
