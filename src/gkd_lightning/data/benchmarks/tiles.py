"""Large aerial images (TIFFs of a hundred megabytes) as data sets of square tiles, cut when they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow

from gkd_lightning.data.images import opened
from gkd_lightning.data.labelled_folder import Pairs
from gkd_lightning.data.labels import StoredLabel
from gkd_lightning.data.types import Image, Label, LabelSpace
from gkd_lightning.errors import UserError

_BROKEN = (tifffile.TiffFileError, OSError, ValueError, KeyError, IndexError)
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
    ) -> None:
        self.areas, self.label_space = list(areas), space
        self._bands, self._channels, self._train_ids = bands, channels, train_ids

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
            found += [(area, box) for box in tile_boxes(width, height)]
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
        """The chosen bands, uint8 (512, 512, 3)."""
        area, box = self._tiles[index]
        return tiff_window(area.image, box, self._bands)[:, :, list(self._channels)]

    def label(self, index: int) -> Label:
        """Train ids uint8 (512, 512)."""
        area, box = self._tiles[index]
        return self._train_ids(tiff_window(area.label, box, 3), str(area.label))

    def name(self, index: int) -> str:
        """``2_10_0_512_512_1024``: area, left, top, right, bottom."""
        return _name(self._tiles[index])


def _name(tile: tuple[Area, Box]) -> str:
    area, box = tile
    return "_".join([area.name, *(str(edge) for edge in box)])


def tiff_shape(path: Path) -> tuple[int, int, int]:
    """(height, width, bands) from the file's header.

    Raises:
        UserError: no such file, or not a TIFF.
    """
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            sizes = dict(zip(series.axes, series.shape, strict=True))
            return sizes["Y"], sizes["X"], sizes.get("S", 1)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such image file") from error
    except _BROKEN as error:
        raise UserError(f"{path}: cannot be read as a TIFF: {error}; repair or remove the file") from error


def tiff_window(path: Path, box: Box, bands: int) -> NDArray[np.uint8]:
    """Pixels uint8 (h, w, bands) of the window (left, top, right, bottom).

    Files without compression are mapped into memory, of which only the window is read; of others the last one is kept
    decoded.

    Args:
        bands: how many the file must have. Pillow and OpenCV are not used: one drops a fourth band that is not declared
            as alpha, the other multiplies the colours with one that is.

    Raises:
        UserError: not a TIFF, other than 8 bit, or another number of bands.
    """
    pixels = _pixels(path, path.stat().st_mtime_ns if path.exists() else 0)
    found = pixels.shape[2]
    if found != bands or pixels.dtype != np.uint8:
        raise UserError(f"{path}: has {found} bands of {pixels.dtype}; expected {bands} bands of uint8")
    left, top, right, bottom = box
    return np.array(pixels[top:bottom, left:right])


@lru_cache(maxsize=2)  # an image and its label
def _pixels(path: Path, modified: int) -> NDArray[np.uint8]:
    shape = tiff_shape(path)
    pixels: NDArray[np.uint8]
    try:
        try:
            pixels = tifffile.memmap(path, mode="r")
        except ValueError:  # compressed, or in pieces
            pixels = _decoded(path, bands=shape[2])
        with tifffile.TiffFile(path) as file:
            axes = file.series[0].axes
    except _BROKEN as error:
        raise UserError(f"{path}: cannot be read as a TIFF: {error}; repair or remove the file") from error
    if pixels.shape != shape:
        pixels = pixels[..., None] if axes == "YX" else np.moveaxis(pixels, 0, -1)
    return pixels


def _decoded(path: Path, bands: int) -> NDArray[np.uint8]:
    """As tifffile reads it; files of three bands in compressions that it lacks (LZW, JPEG) by Pillow."""
    try:
        pixels: NDArray[np.uint8] = tifffile.imread(path)
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        lacking = UserError(f"{path}: {error} to be decoded: pip install imagecodecs")
        if bands != 3:
            raise lacking from error
        try:
            with opened(path) as image:
                pixels = np.array(image)
        except Pillow.DecompressionBombError:  # more pixels than Pillow reads
            raise lacking from error
    return pixels
