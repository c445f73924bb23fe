"""RescueNet (Rahnemoonfar et al., 2023): drone images after a hurricane; and Potsdam relabelled to its classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from gkd_lightning.data.benchmarks.published import Card, Layout, PublishedSegmentation
from gkd_lightning.data.labels import from_one
from gkd_lightning.data.types import RESCUE_5

_CLASS_MAP = {
    0: 255,  # background
    1: 4,  # water
    2: 1, 3: 1, 4: 1, 5: 1,  # buildings without, with minor, with major and with total damage
    6: 3,  # vehicle
    7: 0,  # road, clear
    8: 4,  # road, blocked
    9: 2,  # tree
    10: 4,  # pool
}  # fmt: skip
"""Ours: the authors' relabelling is not published. Background is not judged; what Potsdam lacks is clutter."""

_PREPARED = from_one(len(RESCUE_5))


class RescueNet(PublishedSegmentation):
    """Five classes that Potsdam has too.

    Args:
        root: folder that holds `train/`, `val/` and `test/`; default `$GKD_DATA/rescuenet`.
        split: `train`, `val` or `test`.
    """

    card = Card(
        name="rescuenet",
        title="RescueNet",
        homepage="https://github.com/BinaLab/RescueNet-A-High-Resolution-Post-Disaster-UAV-Dataset-for-Semantic-Segmentation",
        licence="CC BY-NC-ND",
        counts={"train": 3595, "val": 449, "test": 450},
        size=(4000, 3000),
        tree="""\
rescuenet/
  {train,val,test}/{train,val,test}-org-img/10778.jpg
  {train,val,test}/{train,val,test}-label-img/10778_lab.png
  or prepared, five classes: test-org-img/, test-label-img/""",
        official_size=(512, 512),
        other_folders=("RescueNet",),
        notes=(
            "The authors' relabelling to five classes is not published; ours ignores the background and counts water, "
            "pools and blocked roads as clutter.",
        ),
    )
    label_space = RESCUE_5
    id_map = "rescue-5"

    def __init__(self, root: str | None = None, split: Literal["train", "val", "test"] = "test") -> None:
        super().__init__(root, split)

    def layouts(self) -> Sequence[Layout]:
        """As published, else the official repository's relabelled files."""
        images, labels = f"{self.split}-org-img", f"{self.split}-label-img"
        return (
            Layout("published", f"{self.split}/{images}", f"{self.split}/{labels}", ".jpg", "_lab.png", _CLASS_MAP),
            Layout("prepared", images, labels, ".jpg", "_lab.png", _PREPARED),
        )


class PotsdamRescue(PublishedSegmentation):
    """Potsdam's tiles that the official repository expects relabelled to RescueNet's five classes.

    Who has no such files uses `Potsdam` with `classes: rescue-5`.

    Args:
        root: folder of `RGB/img_dir` and `RGB/ann_dir`; default `$GKD_DATA/Potsdam_rescue`.
        split: `train` or `val`.
        bands: `RGB` or `IRRG`.
    """

    card = Card(
        name="Potsdam_rescue",
        title="ISPRS Potsdam in RescueNet's classes",
        homepage="https://www.isprs.org/education/benchmarks/UrbanSemLab/2d-sem-label-potsdam.aspx",
        licence="free for research, registration",
        counts={"train": 3456, "val": 2016},
        size=(512, 512),
        tree="""\
Potsdam_rescue/
  {RGB,IRRG}/{img_dir,ann_dir}/{train,val}/2_10_0_0_512_512.png""",
        official_size=(512, 512),
    )
    label_space = RESCUE_5
    id_map = "rescue-5"

    def __init__(
        self, root: str | None = None, split: Literal["train", "val"] = "train", bands: Literal["RGB", "IRRG"] = "RGB"
    ) -> None:
        super().__init__(root, split)
        self.bands = bands

    def layouts(self) -> Sequence[Layout]:
        """Ids 1 to 5, 0 without truth."""
        images, labels = f"{self.bands}/img_dir/{self.split}", f"{self.bands}/ann_dir/{self.split}"
        return (Layout("prepared tiles", images, labels, ".png", ".png", _PREPARED),)
