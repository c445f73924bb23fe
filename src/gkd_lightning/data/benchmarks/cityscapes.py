"""Cityscapes, fine annotations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from gkd_lightning.data.benchmarks.card import Card
from gkd_lightning.data.benchmarks.cityscapes_ids import CLASS_MAP
from gkd_lightning.data.benchmarks.published import Layout, PublishedSegmentation
from gkd_lightning.data.types import CITYSCAPES_19


class Cityscapes(PublishedSegmentation):
    """Fine annotations; the published label ids are read, prepared `labelTrainIds` files where only those exist.

    Args:
        root: folder that holds `leftImg8bit/` and `gtFine/`; default `$GKD_DATA/cityscapes`.
        split: `train` or `val`; the labels of `test` are not public.

    Raises:
        UserError: as `PublishedSegmentation`.
    """

    card = Card(
        name="cityscapes",
        title="Cityscapes",
        homepage="https://www.cityscapes-dataset.com",
        licence="own licence, non-commercial, registration",
        counts={"train": 2975, "val": 500},
        size=(2048, 1024),
        tree="""\
cityscapes/
  leftImg8bit/{train,val}/CITY/CITY_000000_000019_leftImg8bit.png
  gtFine/{train,val}/CITY/CITY_000000_000019_gtFine_labelIds.png        (or _labelTrainIds.png)""",
        official_size=(1024, 512),
    )
    label_space = CITYSCAPES_19

    def __init__(self, root: str | None = None, split: Literal["train", "val"] = "train") -> None:
        super().__init__(root, split)

    def layouts(self) -> Sequence[Layout]:
        """Label ids as published, else train ids."""
        images, labels = f"leftImg8bit/{self.split}", f"gtFine/{self.split}"
        return (
            Layout("published", images, labels, "_leftImg8bit.png", "_gtFine_labelIds.png", CLASS_MAP),
            Layout("train ids", images, labels, "_leftImg8bit.png", "_gtFine_labelTrainIds.png"),
        )
