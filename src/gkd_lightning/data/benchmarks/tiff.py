"""Aerial TIFFs of a hundred megabytes: their size without reading them, and single windows of them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow

from gkd_lightning.errors import UserError

_BROKEN = (tifffile.TiffFileError, OSError, ValueError, KeyError, IndexError)


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


def tiff_window(path: Path, box: tuple[int, int, int, int], bands: int) -> NDArray[np.uint8]:
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
        if bands != 3:
            raise UserError(f"{path}: {error} to be decoded: pip install imagecodecs") from error
        with Pillow.open(path) as image:
            pixels = np.array(image)
    return pixels
