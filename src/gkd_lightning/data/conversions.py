"""What reading changes without a word: pictures that are turned, cut to 8 bits, or composited."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

from PIL import ExifTags

from gkd_lightning.data import archives
from gkd_lightning.data.images import WATCHER, may_be_turned, opened
from gkd_lightning.data.types import Image


@dataclass
class Conversions:
    """Files that `read_image` has read, and how many of them it had to change."""

    images: int = 0
    turned: int = 0
    """By their EXIF orientation."""
    wide: int = 0
    """Of 16 bits in each channel."""
    brightest: int = 0
    """Of all pixels of those, 0 to 255 as read."""
    alpha: int = 0
    """With pixels that are not opaque."""

    def add(self, path: str | os.PathLike[str], pixels: Image) -> None:
        """Look at a file once more, which gave these pixels."""
        self.images += 1
        data = archives.read_bytes(path)
        with opened(BytesIO(data)) as picture:
            grey = picture.mode.startswith("I")
            stored = str(getattr(picture, "tile", ""))  # how Pillow will unpack it
            if grey or (picture.format != "BMP" and ";16" in stored):
                self.wide += 1
                self.brightest = max(self.brightest, int(pixels.max()))
            if picture.format != "PNG" or may_be_turned(data):  # Pillow decodes a PNG to its end to look for it
                self.turned += 2 <= picture.getexif().get(ExifTags.Base.Orientation, 1) <= 8
            if picture.has_transparency_data and not grey:
                lowest, _ = picture.convert("RGBA").getchannel("A").getextrema()
                self.alpha += lowest != 255

    def __str__(self) -> str:
        """One line, empty if nothing was changed."""
        found = [
            (self.turned, "are turned by EXIF"),
            (self.wide, f"use 16 bits (brightest value {self.brightest} of 255 after conversion)"),
            (self.alpha, "have alpha that is composited over black"),
        ]
        parts = [f"{count} {what}" for count, what in found if count]
        return f"of {self.images} images {', '.join(parts)}" if parts else ""


@contextmanager
def noted_conversions() -> Iterator[Conversions]:
    """Counts what `read_image` changes inside, in this process."""
    found = Conversions()
    token = WATCHER.set(found.add)
    try:
        yield found
    finally:
        WATCHER.reset(token)
