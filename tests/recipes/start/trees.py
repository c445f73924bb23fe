"""Folders as people have them: small pictures and labels under the names that tools and data sets give them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.deploy.predict.made import picture

Ids = NDArray[np.uint8]
CITYSCAPES = ((128, 64, 128), (70, 130, 180), (0, 0, 142))  # road, sky, car


def ids(number: int, values: tuple[int, ...] = (0, 1, 2)) -> Ids:
    """(24, 32) ids in stripes, other ones first in every picture."""
    rows = np.repeat(np.roll(np.array(values, np.uint8), number), -(-24 // len(values)))[:24]
    return np.repeat(rows[:, None], 32, axis=1)


def saved(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def plain(folder: Path, count: int = 6) -> None:
    """`images/NAME.jpg` and `labels/NAME.png`."""
    for number in range(count):
        saved(folder / f"images/{number:03}.jpg", picture(number)[:24, :32])
        saved(folder / f"labels/{number:03}.png", ids(number))


def parts(folder: Path) -> None:
    """CamVid's: the same below `train` and `val`."""
    for part, count in (("train", 5), ("val", 2)):
        for number in range(count):
            saved(folder / f"images/{part}/{number:03}.png", picture(number)[:24, :32])
            saved(
                folder / f"labels/{part}/{number:03}.png", np.where(ids(number) == 2, 255, ids(number)).astype(np.uint8)
            )


def idd_lite(folder: Path) -> None:
    """IDD Lite's: two trees, `NUMBER_image.jpg` and `NUMBER_label.png`."""
    for part, count in (("train", 4), ("val", 2)):
        for number in range(count):
            saved(folder / f"leftImg8bit/{part}/{number % 2}/10{number}_image.jpg", picture(number)[:24, :32])
            saved(folder / f"gtFine/{part}/{number % 2}/10{number}_label.png", ids(number, (0, 3, 255)))
            saved(folder / f"gtFine/{part}/{number % 2}/10{number}_inst_label.png", ids(number, (9, 9, 9)))


def raw_cityscapes(folder: Path) -> None:
    """Cityscapes' own: raw ids, instances and colours beside each other."""
    for number in range(4):
        stem = f"bonn/bonn_00000{number}_000019"
        saved(folder / f"leftImg8bit/{stem}_leftImg8bit.png", picture(number)[:24, :32])
        saved(folder / f"gtFine/{stem}_gtFine_labelIds.png", ids(number, (7, 23, 26)))
        saved(folder / f"gtFine/{stem}_gtFine_instanceIds.png", ids(number, (7, 23, 26)))
        saved(folder / f"gtFine/{stem}_gtFine_color.png", np.array(CITYSCAPES, np.uint8)[ids(number)])


def one_folder(folder: Path) -> None:
    """Images and masks in one folder, as many annotation tools write them."""
    for number in range(5):
        saved(folder / f"all/street {number}.png", picture(number)[:24, :32])
        saved(folder / f"all/street {number}_mask.png", ids(number, (0, 1)))


def coloured(folder: Path) -> None:
    """Labels in Cityscapes' colours, black where nothing is known."""
    for number in range(4):
        mask = np.array(CITYSCAPES, np.uint8)[ids(number)]
        mask[:2] = 0
        saved(folder / f"images/{number}.jpg", picture(number)[:24, :32])
        saved(folder / f"masks/{number}.png", mask)


TREES: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "plain": (plain, ["--images", "images", "--labels", "labels"]),
    "parts": (parts, ["--images", "images", "--labels", "labels", "--classes", "road,sky"]),
    "idd lite": (idd_lite, ["--images", "leftImg8bit", "--labels", "gtFine", "--classes", "a,b,c,d",
                            "--image-suffix", "_image.jpg", "--label-suffix", "_label.png"]),
    "raw cityscapes": (raw_cityscapes, ["--images", "leftImg8bit", "--labels", "gtFine", "--classes", "cityscapes-19"]),
    "one folder": (one_folder, ["--images", "all", "--classes", "ground,thing"]),
    "coloured": (coloured, ["--images", "images", "--labels", "masks", "--classes", "cityscapes-19"]),
}  # fmt: skip
"""How each is written, and what `gkd init` is told of it."""
