"""Street scenes in Cityscapes' classes: Cityscapes, BDD100K, ACDC, and the synthetic GTAV, SYNTHIA and UrbanSyn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np

from gkd_lightning.data.benchmarks.published import Card, Layout, PublishedSegmentation
from gkd_lightning.data.labels import CLASS_MAP, StoredLabel, read_instances
from gkd_lightning.data.types import Instances
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Count, Ranged

Condition = Literal["night", "snow", "fog", "rain"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)

SYNTHIA_TRAIN_IDS = {
    3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 16: 9,
    1: 10, 10: 11, 17: 12, 8: 13, 18: 14, 19: 15, 20: 16, 12: 17, 11: 18,
}  # fmt: skip
"""SYNTHIA's class -> train id. Void (0), parking slots (13), road works (14) and lane markings (22) have none."""

_INSTANCE_IDS = "_gtFine_instanceIds.png"
_SYNTHIA_CLASS_MAP = {class_id: SYNTHIA_TRAIN_IDS.get(class_id, 255) for class_id in range(23)}
_URBANSYN_CLASS_MAP = {**{train_id: train_id for train_id in range(19)}, 19: 255}


class Cityscapes(Ranged, PublishedSegmentation):
    """Fine annotations (Cordts et al., CVPR 2016): published label ids, else prepared `labelTrainIds` files.

    Instances come from `instanceIds` files where they lie beside the labels.

    Args:
        root: folder that holds `leftImg8bit/` and `gtFine/`; default `$GKD_DATA/cityscapes`.
        split: `train` or `val`; the labels of `test` are not public.
        every: of the images in the order of their names this many-th counts, from the first on: 16 leaves 186 of
            `train`.
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
  gtFine/{train,val}/CITY/CITY_000000_000019_gtFine_labelIds.png        (or _labelTrainIds.png)
  gtFine/{train,val}/CITY/CITY_000000_000019_gtFine_instanceIds.png     (for segments: panoptic)""",
        official_size=(1024, 512),
    )

    def __init__(self, root: str | None = None, split: Literal["train", "val"] = "train", every: Count = 1) -> None:
        super().__init__(root, split)
        self.every, self.expected = every, -(-self.expected // every)
        if every > 1:
            self.split_title = f"{split}, one image of {every}"

    def layouts(self) -> Sequence[Layout]:
        """Label ids as published, else train ids."""
        images, labels = f"leftImg8bit/{self.split}", f"gtFine/{self.split}"
        return (
            Layout(
                "published", images, labels, "_leftImg8bit.png", "_gtFine_labelIds.png", CLASS_MAP,
                instance_suffix=_INSTANCE_IDS, read_instances=read_instance_ids, every=self.every,
            ),
            Layout(
                "train ids", images, labels, "_leftImg8bit.png", "_gtFine_labelTrainIds.png",
                instance_suffix=_INSTANCE_IDS, read_instances=read_instance_ids, every=self.every,
            ),
        )  # fmt: skip


def read_instance_ids(path: Path) -> Instances:
    """Cityscapes' instances int32 (H, W): `label id * 1000 + k` counts from k = 0; what is below 1000 is none.

    Regions of things that nobody could tell apart have their plain label id: they are crowds.

    Raises:
        UserError: no such file, damaged, or no numbers.
    """
    stored = read_instances(path)
    return np.where(stored >= 1000, stored % 1000 + 1, 0).astype(np.int32)


class BDD100K(PublishedSegmentation):
    """The 10k images with semantic masks (Yu et al., CVPR 2020): Cityscapes train ids, 255 ignored.

    Args:
        root: folder that holds `images/` and `labels/`; default `$GKD_DATA/bdd100k`.
        split: `train` or `val`; the labels of `test` are not public.
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

    def __init__(self, root: str | None = None, split: Literal["train", "val"] = "train") -> None:
        super().__init__(root, split)

    def layouts(self) -> Sequence[Layout]:
        """The present packing, then the older one."""
        split = self.split
        return (
            Layout("published", f"images/10k/{split}", f"labels/sem_seg/masks/{split}", ".jpg", ".png"),
            Layout("older", f"seg/images/{split}", f"seg/labels/{split}", ".jpg", "_train_id.png"),
        )


class ACDC(PublishedSegmentation):
    """Adverse conditions (Sakaridis et al., ICCV 2021), each a domain of its own.

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

    def __init__(
        self, root: str | None = None, split: Literal["train", "val"] = "val", condition: Condition = "night"
    ) -> None:
        if condition not in CONDITIONS:
            raise UserError(f"ACDC: no condition {condition!r}; give one of {', '.join(CONDITIONS)}")
        super().__init__(root, split)
        self.condition, self.split_title = condition, f"{condition} {split}"
        if (condition, split) == ("night", "val"):
            self.expected = 106

    def layouts(self) -> Sequence[Layout]:
        """Label ids, else train ids; both are published."""
        images, labels = f"rgb_anon/{self.condition}/{self.split}", f"gt/{self.condition}/{self.split}"
        return (
            Layout("published", images, labels, "_rgb_anon.png", "_gt_labelIds.png", CLASS_MAP),
            Layout("train ids", images, labels, "_rgb_anon.png", "_gt_labelTrainIds.png"),
        )


class GTAV(PublishedSegmentation):
    """Scenes of a computer game (Richter et al., ECCV 2016), one split; palette PNGs of Cityscapes' label ids.

    Args:
        root: folder that holds `images/` and `labels/`; default `$GKD_DATA/gtav`.
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

    def __init__(self, root: str | None = None) -> None:
        super().__init__(root, "train")

    def layouts(self) -> Sequence[Layout]:
        """Label ids as published, else the official repository's train ids."""
        return (
            Layout("published", "images", "labels", ".png", ".png", CLASS_MAP),
            Layout("train ids", "images", "labels", ".png", "_labelTrainIds.png"),
        )


class Synthia(PublishedSegmentation):
    """SYNTHIA-RAND-CITYSCAPES (Ros et al., CVPR 2016), one split. Terrain, truck and train never occur in it.

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

    def __init__(self, root: str | None = None) -> None:
        super().__init__(root, "train")

    def layouts(self) -> Sequence[Layout]:
        """16 bit colours as published, else the official repository's train ids."""
        return (
            Layout("published", "RGB", "GT/LABELS", ".png", ".png", _SYNTHIA_CLASS_MAP, read_label=read_classes),
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


class UrbanSyn(PublishedSegmentation):
    """Photorealistic synthetic streets (Gómez et al., 2023), one split; train ids, 19 is unlabelled.

    Args:
        root: folder that holds `rgb/` and `ss/`; default `$GKD_DATA/urbansyn`.
    """

    card = Card(
        name="urbansyn",
        title="UrbanSyn",
        homepage="https://www.urbansyn.org",
        licence="CC BY-SA 4.0",
        counts={"train": 7539},
        size=(2048, 1024),
        tree="""\
urbansyn/
  rgb/rgb_0001.png … rgb_7539.png
  ss/ss_0001.png … ss_7539.png        (or the image's own name)""",
        other_folders=("UrbanSyn",),
    )

    def __init__(self, root: str | None = None) -> None:
        super().__init__(root, "train")

    def layouts(self) -> Sequence[Layout]:
        """Names as published, else equal names as the official repository expects them."""
        return (
            Layout("published", "rgb", "ss", ".png", ".png", _URBANSYN_CLASS_MAP, label_stem=_label_stem),
            Layout("equal names", "rgb", "ss", ".png", ".png", _URBANSYN_CLASS_MAP),
        )


def _label_stem(stem: str) -> str:
    folder, slash, name = stem.rpartition("/")
    return f"{folder}{slash}ss_{name.removeprefix('rgb_')}"
