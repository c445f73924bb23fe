"""How imitations are written to disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from gkd_lightning.data.types import Label


def save(path: Path, pixels: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> None:
    """Write 8 bit pixels as JPEG or PNG by the path's suffix; ids with a palette (256, 3) as a palette PNG."""
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
