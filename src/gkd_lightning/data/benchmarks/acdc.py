"""ACDC, adverse conditions with correspondences (Sakaridis et al., ICCV 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from gkd_lightning.data.benchmarks.card import Card
from gkd_lightning.data.benchmarks.cityscapes_ids import CLASS_MAP
from gkd_lightning.data.benchmarks.published import Layout, PublishedSegmentation
from gkd_lightning.data.types import CITYSCAPES_19
from gkd_lightning.errors import UserError

Condition = Literal["night", "snow", "fog", "rain"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)


class ACDC(PublishedSegmentation):
    """One adverse condition, each a domain of its own.

    Args:
        root: folder that holds `rgb_anon/` and `gt/`; default `$GKD_DATA/acdc`.
        split: `train` or `val`; the labels of `test` are not public.
        condition: `night`, `snow`, `fog` or `rain`.

    Raises:
        UserError: at once for another condition; otherwise as `PublishedSegmentation`.
    """

    card = Card(
        name="acdc",
        title="ACDC",
        homepage="https://acdc.vision.ee.ethz.ch",
        licence="own licence, non-commercial, registration",
        counts={"train": 400, "val": 100},
        size=(1920, 1080),
        tree="""\
acdc/
  rgb_anon/{night,snow,fog,rain}/{train,val}/GOPR0000/GOPR0000_frame_000001_rgb_anon.png
  gt/{night,snow,fog,rain}/{train,val}/GOPR0000/GOPR0000_frame_000001_gt_labelIds.png        (or _labelTrainIds.png)""",
        official_size=(960, 540),
        notes=("Counts are those of one condition; night has 106 validation images.",),
    )
    label_space = CITYSCAPES_19

    def __init__(
        self, root: str | None = None, split: Literal["train", "val"] = "val", condition: Condition = "night"
    ) -> None:
        if condition not in CONDITIONS:
            raise UserError(f"ACDC: no condition {condition!r}; give one of {', '.join(CONDITIONS)}")
        super().__init__(root, split)
        self.condition = condition

    @property
    def expected(self) -> int:
        """Published number of labelled images."""
        return 106 if (self.condition, self.split) == ("night", "val") else super().expected

    @property
    def split_title(self) -> str:
        """Condition and split."""
        return f"{self.condition} {self.split}"

    def layouts(self) -> Sequence[Layout]:
        """Label ids, else train ids; both are published."""
        images, labels = f"rgb_anon/{self.condition}/{self.split}", f"gt/{self.condition}/{self.split}"
        return (
            Layout("published", images, labels, "_rgb_anon.png", "_gt_labelIds.png", CLASS_MAP),
            Layout("train ids", images, labels, "_rgb_anon.png", "_gt_labelTrainIds.png"),
        )
