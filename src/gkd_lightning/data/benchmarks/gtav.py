"""GTAV, "Playing for Data" (Richter et al., ECCV 2016): street scenes from a computer game."""

from __future__ import annotations

from collections.abc import Sequence

from gkd_lightning.data.benchmarks.card import Card
from gkd_lightning.data.benchmarks.cityscapes_ids import CLASS_MAP
from gkd_lightning.data.benchmarks.published import Layout, PublishedSegmentation
from gkd_lightning.data.types import CITYSCAPES_19


class GTAV(PublishedSegmentation):
    """All images as one split; labels are palette PNGs with Cityscapes' label ids.

    Args:
        root: folder that holds `images/` and `labels/`; default `$GKD_DATA/gtav`.

    Raises:
        UserError: as `PublishedSegmentation`.
    """

    card = Card(
        name="gtav",
        title="GTAV",
        homepage="https://download.visinf.tu-darmstadt.de/data/from_games",
        licence="research and education only",
        counts={"train": 24966},
        size=(1914, 1052),
        tree="""\
gtav/
  images/00001.png … 24966.png
  labels/00001.png … 24966.png        (or 00001_labelTrainIds.png)""",
        official_size=(1280, 720),
        other_folders=("GTA5", "gta5", "gta"),
        notes=("In a few pairs image and label differ in size; the label is stretched for training.",),
    )
    label_space = CITYSCAPES_19

    def __init__(self, root: str | None = None) -> None:
        super().__init__(root, "train")

    def layouts(self) -> Sequence[Layout]:
        """Label ids as published, else the official repository's train ids."""
        return (
            Layout("published", "images", "labels", ".png", ".png", CLASS_MAP),
            Layout("train ids", "images", "labels", ".png", "_labelTrainIds.png"),
        )
