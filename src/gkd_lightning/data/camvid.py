"""CamVid, the smallest real driving data set, in its 11-class form."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from gkd_lightning.data.folder import FolderSegmentation
from gkd_lightning.errors import UserError


class CamVid(FolderSegmentation):
    """`ROOT/images/SPLIT/NAME.jpg` and `ROOT/labels/SPLIT/NAME.png`, ids 0 to 10, 11 = void = ignored.

    Args:
        root: the data set's folder; default `$GKD_DATA/camvid`.
        split: 367 images to train, 101 to validate, 233 to test.

    Raises:
        UserError: neither `root` nor GKD_DATA is given; otherwise as `FolderSegmentation`.
    """

    def __init__(self, root: str | None = None, split: Literal["train", "val", "test"] = "train") -> None:
        base = Path(root) if root is not None else data_root() / "camvid"
        super().__init__(
            images=str(base / "images" / split),
            labels=str(base / "labels" / split),
            classes="camvid-11",
            image_suffix=".jpg",
            ignore=11,
        )


def data_root() -> Path:
    """The folder that the environment variable GKD_DATA names.

    Raises:
        UserError: it is not set.
    """
    root = os.environ.get("GKD_DATA")
    if not root:
        raise UserError("GKD_DATA is not set: export it as the folder that holds the data sets, or give root")
    return Path(root)
