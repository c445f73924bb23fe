"""What imitations of data sets show, MiniCity streets at any size in Cityscapes' classes, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from gkd_lightning.data.minicity import MiniCity
from gkd_lightning.data.types import CITYSCAPES_19, MINICITY_8, Image, Instances, Label

_AS_CITYSCAPES = {
    "sky": 10,
    "building": 2,
    "road": 0,
    "sidewalk": 1,
    "vegetation": 8,
    "car": 13,
    "person": 11,
    "pole": 5,
}
"""MiniCity class -> Cityscapes train id."""
_CROWD = CITYSCAPES_19.names.index("bicycle")
_FIRST_OF_STRIP = 256
"""Above all numbers of a street."""


@dataclass(frozen=True)
class Scene:
    """An image and what its pixels are."""

    image: Image
    """RGB uint8 (H, W, 3)."""
    label: Label
    """Cityscapes train ids uint8 (H, W), 255 without truth."""
    instances: Instances
    """int32 (H, W): cars and persons from 1 on, 0 for none. Of the strip's things every one is an instance but the
    bicycles, which are a crowd."""


class Streets:
    """Endless labelled street scenes in one of MiniCity's styles.

    Args:
        style: one of MiniCity's.
        seed: another seed, other streets.
        size: (width, height) of the scenes.
    """

    def __init__(self, style: str, seed: int, size: tuple[int, int]) -> None:
        self._streets = MiniCity(style, size=1_000_000, seed=seed, cache=False)
        self._table = np.full(256, 255, dtype=np.uint8)
        for train_id, name in enumerate(MINICITY_8.names):
            self._table[train_id] = _AS_CITYSCAPES[name]
        self._size, self._next = size, 0

    def draw(self) -> Scene:
        """The next scene: the middle of one street, with a strip of all 19 colours below.

        The strip, a sixteenth of the height, makes every class occur; its left end has no truth.
        """
        image, label = self._streets.image(self._next), self._table[self._streets.label(self._next)]
        numbers = self._streets.instances(self._next).astype(np.uint8)  # a street has a dozen
        self._next += 1
        width, height = self._size
        scaled = _cover(image, width, height, Pillow.Resampling.BICUBIC)
        truth = _cover(label, width, height, Pillow.Resampling.NEAREST)
        instances = _cover(numbers, width, height, Pillow.Resampling.NEAREST).astype(np.int32)
        strip = max(1, height // 16)
        ids = np.append(np.uint8(255), np.arange(len(CITYSCAPES_19), dtype=np.uint8))
        row = ids[np.arange(width) * len(ids) // width]
        colours = np.vstack([np.array(CITYSCAPES_19.palette, dtype=np.uint8), np.zeros((237, 3), dtype=np.uint8)])
        truth[-strip:] = row
        scaled[-strip:] = colours[row]
        counted = np.isin(row, CITYSCAPES_19.thing_ids) & (row != _CROWD)
        instances[-strip:] = np.where(counted, _FIRST_OF_STRIP + row.astype(np.int32), 0)
        return Scene(scaled, truth, instances)


def _cover(pixels: NDArray[np.uint8], width: int, height: int, resample: Pillow.Resampling) -> NDArray[np.uint8]:
    """A square scaled until it covers the frame, and its middle cut out."""
    side = max(width, height)
    left, top = (side - width) // 2, (side - height) // 2
    square = Pillow.fromarray(pixels).resize((side, side), resample)
    return np.array(square.crop((left, top, left + width, top + height)))


def save(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16], palette: NDArray[np.uint8] | None = None) -> None:
    """Write pixels as JPEG or PNG by the path's suffix; ids with a palette (256, 3) as a palette PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Pillow.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette.tobytes())
    image.save(path, quality=92)  # of JPEG; a PNG has none


def save_16_bit_rgb(path: Path, pixels: NDArray[np.uint16]) -> None:
    """Write (H, W, 3) RGB as a 16 bit colour PNG, which Pillow cannot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".png", pixels[:, :, ::-1])[1]
    path.write_bytes(encoded.tobytes())


def stored(label: Label, ids: Mapping[int, int], void: int) -> Label:
    """Train ids turned into stored ids: `ids` is stored id -> train id, `void` is stored where there is no truth."""
    table = np.full(256, void, dtype=np.uint8)
    for stored_id, train_id in ids.items():
        table[train_id] = stored_id
    table[255] = void
    result: Label = table[label]
    return result
