"""Large aerial images as data sets of square tiles, cut when they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

from gkd_lightning.data.benchmarks.tiff import tiff_shape, tiff_window
from gkd_lightning.data.folder import Pairs
from gkd_lightning.data.labels import StoredLabel
from gkd_lightning.data.types import Image, Label, LabelSpace
from gkd_lightning.errors import UserError

Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""


def tile_boxes(width: int, height: int, size: int = 512) -> list[Box]:
    """Tiles side by side; the last of a row or column is moved back inside, so that all have the same size.

    These are the tiles of mmsegmentation's converters for Potsdam and Vaihingen: they compute the tiles' number from
    a stride of 256 but place them 512 pixels apart, which leaves 144 of a Potsdam image of 6000 pixels.
    """
    lefts = [min(left, max(width - size, 0)) for left in range(0, width, size)]
    tops = [min(top, max(height - size, 0)) for top in range(0, height, size)]
    return [(x, y, min(x + size, width), min(y + size, height)) for y in tops for x in lefts]


class Area(NamedTuple):
    """One large image: its name, such as ``2_10``, its file and that of its label (colours in three bands)."""

    name: str
    image: Path
    label: Path


class Tiles:
    """All tiles of some areas.

    Args:
        areas: large images with their labels.
        space: the classes.
        bands: of the image files.
        channels: which bands become red, green and blue.
        train_ids: from colours (h, w, 3) and a place for messages to train ids (h, w).
        size: side of a tile in pixels.

    Raises:
        UserError: at the first use, for an image without a label, a label of another size, or a damaged TIFF.
    """

    def __init__(
        self,
        areas: Sequence[Area],
        space: LabelSpace,
        bands: int,
        channels: tuple[int, int, int],
        train_ids: Callable[[StoredLabel, str], Label],
        size: int = 512,
    ) -> None:
        self.areas, self.label_space = list(areas), space
        self._bands, self._channels, self._train_ids, self._size = bands, channels, train_ids, size

    @cached_property
    def pairs(self) -> Pairs:
        """Areas with and without a label."""
        return Pairs(
            labelled=[(str(area.image), str(area.label)) for area in self.areas if area.label.is_file()],
            without_label=[str(area.label) for area in self.areas if not area.label.is_file()],
            without_image=[],
        )

    def labelled_only(self) -> Self:
        """The same without the areas that have no label."""
        other = copy(self)
        other.areas = [area for area in self.areas if area.label.is_file()]
        for name in ("_tiles", "pairs"):
            other.__dict__.pop(name, None)
        return other

    @cached_property
    def _tiles(self) -> list[tuple[Area, Box]]:
        if self.pairs.without_label:
            raise UserError(f"{self.pairs.without_label[0]}: no such label file ({len(self.areas)} images want one)")
        found = []
        for area in self.areas:
            height, width, _ = tiff_shape(area.image)
            label_height, label_width, _ = tiff_shape(area.label)
            if (label_height, label_width) != (height, width):
                raise UserError(f"{area.label}: is {label_width}x{label_height}, its image is {width}x{height}")
            found += [(area, box) for box in tile_boxes(width, height, self._size)]
        return sorted(found, key=_name)  # the order of prepared tiles, so that a seed draws the same ones from both

    def __len__(self) -> int:
        return len(self._tiles)

    def image_path(self, index: int) -> Path:
        """The large image's file."""
        return self._tiles[index][0].image

    def label_path(self, index: int) -> Path:
        """The large label's file."""
        return self._tiles[index][0].label

    def image(self, index: int) -> Image:
        """The chosen bands, uint8 (size, size, 3)."""
        area, box = self._tiles[index]
        return tiff_window(area.image, box, self._bands)[:, :, list(self._channels)]

    def label(self, index: int) -> Label:
        """Train ids uint8 (size, size)."""
        area, box = self._tiles[index]
        return self._train_ids(tiff_window(area.label, box, 3), str(area.label))

    def name(self, index: int) -> str:
        """``2_10_0_512_512_1024``: area, left, top, right, bottom."""
        return _name(self._tiles[index])


def _name(tile: tuple[Area, Box]) -> str:
    area, box = tile
    return "_".join([area.name, *(str(edge) for edge in box)])
