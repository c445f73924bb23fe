"""SYNTHIA-RAND-CITYSCAPES (Ros et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from gkd_lightning.data.benchmarks.card import Card
from gkd_lightning.data.benchmarks.published import Layout, PublishedSegmentation, StoredLabel
from gkd_lightning.data.types import CITYSCAPES_19
from gkd_lightning.errors import UserError

TRAIN_IDS = {
    3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 16: 9,
    1: 10, 10: 11, 17: 12, 8: 13, 18: 14, 19: 15, 20: 16, 12: 17, 11: 18,
}  # fmt: skip
"""SYNTHIA's class -> train id. Void (0), parking slots (13), road works (14) and lane markings (22) have none."""

_CLASS_MAP = {class_id: TRAIN_IDS.get(class_id, 255) for class_id in range(23)}


class Synthia(PublishedSegmentation):
    """All images as one split. Terrain, truck and train never occur in it (16 of the 19 classes).

    Args:
        root: folder that holds `RGB/` and `GT/`; default `$GKD_DATA/synthia`.

    Raises:
        UserError: as `PublishedSegmentation`; a label that is not a 16 bit colour PNG.
    """

    card = Card(
        name="synthia",
        title="SYNTHIA-RAND-CITYSCAPES",
        homepage="https://synthia-dataset.net",
        licence="CC BY-NC-SA 3.0",
        counts={"train": 9400},
        size=(1280, 760),
        tree="""\
synthia/
  RGB/0000000.png … 0009399.png
  GT/LABELS/0000000.png … 0009399.png        (16 bit RGB; or 0000000_labelTrainIds.png)""",
        official_size=(2560, 1580),
        other_folders=("SYNTHIA_RAND_CITYSCAPES/RAND_CITYSCAPES", "RAND_CITYSCAPES"),
    )
    label_space = CITYSCAPES_19

    def __init__(self, root: str | None = None) -> None:
        super().__init__(root, "train")

    def layouts(self) -> Sequence[Layout]:
        """16 bit colours as published, else the official repository's train ids."""
        return (
            Layout("published", "RGB", "GT/LABELS", ".png", ".png", _CLASS_MAP, read_label=read_classes),
            Layout("train ids", "RGB", "GT/LABELS", ".png", "_labelTrainIds.png"),
        )


def read_classes(path: Path) -> StoredLabel:
    """Class ids uint16 (H, W): the red channel of a 16 bit PNG (the green one numbers instances).

    OpenCV reads it, since Pillow cuts 16 bit colours down to their upper halves, which are zero.

    Raises:
        UserError: no such file, or not three channels of 16 bit.
    """
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if stored is None:
        raise UserError(f"{path}: cannot be read as label; repair or remove the file")
    if stored.dtype != np.uint16 or stored.ndim != 3 or stored.shape[2] < 3:
        found = f"{stored.dtype} with {1 if stored.ndim == 2 else stored.shape[2]} channels"
        raise UserError(f"{path}: a SYNTHIA label has three 16 bit channels, this one is {found}; take GT/LABELS")
    classes: StoredLabel = stored[:, :, 2]
    return classes
