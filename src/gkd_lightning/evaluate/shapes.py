"""Contours, and things of each size: what mean IoU does not see, because most pixels are neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gkd_lightning.evaluate.confusion import iou, mean_over_classes, number_or_none
from gkd_lightning.evaluate.shape_counts import DISTANCE, SIZES

SHAPE_COLUMNS = ("boundary_miou", *(f"recall_{size}" for size in SIZES))
"""Scores of `Shapes` that tables and files show."""
_COUNTS = ("parts", "pixels", "right")
Table = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Shapes:
    """Of all images of one domain; every score is derived from it.

    Attributes:
        boundary: pixels near contours, 3 x C, see `shape_counts.boundary_counts`.
        parts: connected parts of the truth by size and class, 3 x C, see `shape_counts.size_counts`.
        pixels: their pixels.
        right: and those of them that are right.
    """

    boundary: Table
    parts: Table
    pixels: Table
    right: Table

    @classmethod
    def of(cls, boundary: Tensor, sizes: Tensor) -> Shapes:
        """From the sums over images of `boundary_counts` and `size_counts`."""
        return cls(_table(boundary.tolist()), *(_table(part) for part in sizes.tolist()))

    def __str__(self) -> str:
        """For a terminal."""
        return f"boundary IoU {self.boundary_miou:6.2f}  small {self.recall_small:6.2f}"

    @property
    def boundary_iou(self) -> list[float | None]:
        """Per class in percent; None for a class without a contour in truth and prediction."""
        return [number_or_none(value) for value in self._boundary_iou().tolist()]

    @property
    def boundary_miou(self) -> float:
        """Mean over the classes that have one, in percent; NaN where none has."""
        return float(mean_over_classes(self._boundary_iou()))

    def recall(self, size: str) -> list[float | None]:
        """Share of right pixels in the truth's parts of a size, per class in percent; None where there are none."""
        return [number_or_none(value) for value in self._recall(size).tolist()]

    @property
    def recall_small(self) -> float:
        """Mean over the classes that have small parts, in percent; NaN where none has."""
        return float(mean_over_classes(self._recall("small")))

    @property
    def recall_medium(self) -> float:
        """The same of medium ones."""
        return float(mean_over_classes(self._recall("medium")))

    @property
    def recall_large(self) -> float:
        """The same of large ones."""
        return float(mean_over_classes(self._recall("large")))

    def asdict(self) -> dict[str, Any]:
        """Plain JSON values, the derived scores included for readers of the file."""
        return {
            **{name: number_or_none(getattr(self, name)) for name in SHAPE_COLUMNS},
            "boundary_iou": self.boundary_iou,
            "recall": {size: self.recall(size) for size in SIZES},
            "distance": DISTANCE,
            "boundary": [list(row) for row in self.boundary],
            **{name: [list(row) for row in getattr(self, name)] for name in _COUNTS},
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Shapes:
        """Inverse of `asdict`. Raises ValueError if contours had another width."""
        if value["distance"] != DISTANCE:
            raise ValueError(f"contours {value['distance']} of the diagonal wide, this version has {DISTANCE}")
        return cls(*(_table(value[name]) for name in ("boundary", *_COUNTS)))

    def _boundary_iou(self) -> Tensor:
        return iou(*torch.tensor(self.boundary, dtype=torch.int64))

    def _recall(self, size: str) -> Tensor:
        place = SIZES.index(size)
        right, pixels = (torch.tensor(part[place], dtype=torch.float64) for part in (self.right, self.pixels))
        return 100 * right / pixels  # 0 / 0 is the NaN that is meant


def _table(rows: Sequence[Sequence[int]]) -> Table:
    return tuple(tuple(int(count) for count in row) for row in rows)
