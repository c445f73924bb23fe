"""Synthetic streets in weather of several strengths, in Cityscapes' classes: MUAD and DeLiVER."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from gkd_lightning.data.benchmarks.published import Card, Layout, PublishedSegmentation
from gkd_lightning.data.labels import StoredLabel, read_stored_label
from gkd_lightning.errors import UserError

Weather = Literal["cloud", "fog", "night", "rain", "sun"]
WEATHERS: tuple[Weather, ...] = get_args(Weather)
MuadSplit = Literal[
    "train",
    "val",
    "test_id",
    "test_ood",
    "test_id_low_adv",
    "test_id_high_adv",
    "test_ood_low_adv",
    "test_ood_high_adv",
]
MUAD_SPLITS: tuple[MuadSplit, ...] = get_args(MuadSplit)

_MUAD_CLASS_MAP = {**{train_id: train_id for train_id in range(19)}, 19: 255, 20: 255, 21: 255}

DELIVER_TRAIN_IDS = {
    6: 0, 7: 0, 8: 1, 1: 2, 11: 3, 2: 4, 5: 5, 18: 6, 12: 7, 9: 8, 22: 9, 13: 10, 4: 11, 10: 13, 25: 14, 24: 15,
}  # fmt: skip
"""DeLiVER's stored id -> train id, by names; road lines (6) are road, as Cityscapes' are.

Without truth are other (3), ground (14), bridges (15), rail tracks (16), guard rails (17), what is static (19) or
dynamic (20), water (21), and two-wheelers (23), which may be motorcycles or bicycles.
"""

_DELIVER_CLASS_MAP = {class_id: DELIVER_TRAIN_IDS.get(class_id, 255) for class_id in range(26)}


class MUAD(PublishedSegmentation):
    """MUAD (Franchi et al., BMVC 2022): synthetic streets by day and night, some with weather, objects or both.

    Ids are Cityscapes' train ids. Those of animals (19) and of rubbish and food stands (20) are ignored, as is what has
    none (21); in the tests with such objects these two are unknown objects, of which an evaluation asks whether
    confidence is low there.

    Args:
        root: folder that holds the splits' folders; default `$GKD_DATA/muad`.
        split: `train`, `val`, or a test's: `test_id` is like them, `test_ood` has objects that they lack, and of both
            there are those in weak and strong rain, fog and snow (`_low_adv`, `_high_adv`).
    """

    card = Card(
        name="muad",
        title="MUAD",
        homepage="https://muad-dataset.github.io",
        licence="CC BY-NC-ND 4.0",
        counts={
            "train": 3420, "val": 492, "test_id": 551, "test_ood": 1668, "test_id_low_adv": 605,
            "test_id_high_adv": 602, "test_ood_low_adv": 1552, "test_ood_high_adv": 1421,
        },
        size=(2048, 1024),
        tree="""\
muad/
  {train,val,test_id,test_ood,test_id_low_adv,…}/leftImg8bit/000000_leftImg8bit.png
  {train,val,test_id,test_ood,test_id_low_adv,…}/leftLabel/000000_leftLabel.png""",
        other_folders=("MUAD",),
        notes=(
            "Counts of the tests are from TorchUncertainty, by the same group, alone.",
            "Riders, trains, motorcycles and bicycles occur in the tests with such objects (ood) alone.",
        ),
    )  # fmt: skip

    def __init__(self, root: str | None = None, split: MuadSplit = "val") -> None:
        super().__init__(root, split)

    def layouts(self) -> Sequence[Layout]:
        """As published."""
        folders = f"{self.split}/leftImg8bit", f"{self.split}/leftLabel"
        unknown = (19, 20) if "ood" in self.split else ()
        suffixes = "_leftImg8bit.png", "_leftLabel.png"
        return (Layout("published", *folders, *suffixes, _MUAD_CLASS_MAP, unknown_ids=unknown),)


class DeLiVER(PublishedSegmentation):
    """DeLiVER's front camera (Zhang et al., CVPR 2023), rendered with CARLA, in five kinds of weather.

    Args:
        root: folder that holds `img/` and `semantic/`; default `$GKD_DATA/deliver`.
        split: `train`, `val` or `test`.
        weather: `cloud`, `fog`, `night`, `rain` or `sun`; None for all of them.

    Raises:
        UserError: at once for another weather; otherwise as `PublishedSegmentation`.
    """

    card = Card(
        name="deliver",
        title="DeLiVER",
        homepage="https://github.com/jamycheung/DELIVER",
        licence="terms of the data not stated, code Apache 2.0",
        counts={"train": 3983, "val": 2005, "test": 1897},
        size=(1042, 1042),
        tree="""\
deliver/
  img/{cloud,fog,night,rain,sun}/{train,val,test}/MAP_10_point102/045050_rgb_front.png
  semantic/{cloud,fog,night,rain,sun}/{train,val,test}/MAP_10_point102/045050_semantic_front.png""",
        other_folders=("DELIVER", "DeLiVER"),
        notes=(
            "Counts are those of all weathers, from users' records; how many each has is not known to us.",
            "Riders and trains are no classes of it, and two-wheelers, which are one, are ignored.",
        ),
    )

    def __init__(
        self,
        root: str | None = None,
        split: Literal["train", "val", "test"] = "test",
        weather: Weather | None = None,
    ) -> None:
        if weather is not None and weather not in WEATHERS:
            raise UserError(f"DeLiVER: no weather {weather!r}; give one of {', '.join(WEATHERS)}, or null for all")
        super().__init__(root, split)
        self.weather = weather
        if weather is not None:
            self.split_title, self.expected = f"{weather} {split}", 0

    def layouts(self) -> Sequence[Layout]:
        """As published."""
        suffixes = "_rgb_front.png", "_semantic_front.png"
        below = "" if self.weather is None else f"/{self.weather}/{self.split}"
        part = self.split if self.weather is None else None
        return (
            Layout(
                "published", f"img{below}", f"semantic{below}", *suffixes, _DELIVER_CLASS_MAP,
                read_label=read_tags, part=part,
            ),
        )  # fmt: skip


def read_tags(path: Path) -> StoredLabel:
    """CARLA's tags uint8 (H, W): the red channel of a colour PNG, or the only one.

    Raises:
        UserError: no such file, or neither ids nor colours.
    """
    stored = read_stored_label(path)
    tags: StoredLabel = stored[:, :, 0] if stored.ndim == 3 else stored
    return tags
