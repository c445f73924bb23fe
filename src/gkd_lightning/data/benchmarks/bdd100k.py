"""BDD100K, the 10k images with semantic masks (Yu et al., CVPR 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from gkd_lightning.data.benchmarks.card import Card
from gkd_lightning.data.benchmarks.published import Layout, PublishedSegmentation
from gkd_lightning.data.types import CITYSCAPES_19


class BDD100K(PublishedSegmentation):
    """Labels are Cityscapes train ids, 255 ignored.

    Args:
        root: folder that holds `images/` and `labels/`; default `$GKD_DATA/bdd100k`.
        split: `train` or `val`; the labels of `test` are not public.

    Raises:
        UserError: as `PublishedSegmentation`.
    """

    card = Card(
        name="bdd100k",
        title="BDD100K",
        homepage="https://bdd-data.berkeley.edu",
        licence="own licence, registration",
        counts={"train": 7000, "val": 1000},
        size=(1280, 720),
        tree="""\
bdd100k/
  images/10k/{train,val}/0004a4c0-d4dff0ad.jpg
  labels/sem_seg/masks/{train,val}/0004a4c0-d4dff0ad.png""",
        official_size=(1280, 720),
        notes=("The older packing, seg/images and seg/labels with _train_id.png, is read too.",),
    )
    label_space = CITYSCAPES_19

    def __init__(self, root: str | None = None, split: Literal["train", "val"] = "train") -> None:
        super().__init__(root, split)

    def layouts(self) -> Sequence[Layout]:
        """The present packing, then the older one."""
        split = self.split
        return (
            Layout("published", f"images/10k/{split}", f"labels/sem_seg/masks/{split}", ".jpg", ".png"),
            Layout("older", f"seg/images/{split}", f"seg/labels/{split}", ".jpg", "_train_id.png"),
        )
