"""The India Driving Dataset's segmentation, IDD20K, in two parts: polygons, drawn as the authors' tool draws them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from gkd_lightning.data.annotations.reading import json_of, record_of, whole
from gkd_lightning.data.annotations.shapes import Damaged
from gkd_lightning.data.benchmarks.published import Card, Layout, PublishedSegmentation
from gkd_lightning.data.labels import StoredLabel
from gkd_lightning.errors import UserError

IDD_CLASSES = (
    "road", "parking", "drivable fallback", "sidewalk", "rail track", "non-drivable fallback", "person", "animal",
    "rider", "motorcycle", "bicycle", "autorickshaw", "car", "truck", "bus", "caravan", "trailer", "train",
    "vehicle fallback", "curb", "wall", "fence", "guard rail", "billboard", "traffic sign", "traffic light", "pole",
    "polegroup", "obs-str-bar-fallback", "building", "bridge", "tunnel", "vegetation", "sky", "fallback background",
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "license plate",
)  # fmt: skip
"""Names by id (helpers/anue_labels.py of github.com/AutoNUE/public-code)."""

IDD_TRAIN_IDS = {
    0: 0, 3: 1, 29: 2, 20: 3, 21: 4, 26: 5, 25: 6, 24: 7, 32: 8, 5: 9,
    33: 10, 6: 11, 8: 12, 12: 13, 13: 14, 14: 15, 17: 16, 9: 17, 10: 18,
}  # fmt: skip
"""IDD's id -> train id: the column csTrainId of the same table.

It goes by names, but for terrain, which is IDD's non-drivable fallback. The other classes have none: auto-rickshaws,
animals, billboards, curbs, guard rails, parking, every further fallback.
"""

Part = Literal[1, 2]
PARTS: tuple[Part, ...] = get_args(Part)

_CLASS_MAP = {class_id: IDD_TRAIN_IDS.get(class_id, 255) for class_id in range(len(IDD_CLASSES))}
_IDS = {name: class_id for class_id, name in enumerate(IDD_CLASSES)}
_PARTS = {
    1: ("IDD_Segmentation", ".png", {"train": 6993, "val": 981}),
    2: ("idd20kII", ".jpg", {"train": 7034, "val": 1055}),
}


class IDD(PublishedSegmentation):
    """One of IDD20K's two parts (Varma et al., WACV 2019), unstructured traffic in India.

    Label maps of the authors' tool are read where they lie beside the polygons (`createLabels.py --id-type csTrainId`
    or `id`); else the polygons, with the same pixels. Maps of level 3 (`--id-type level3Id`) are not: they have one id
    for sky and background, for rail tracks and terrain, and for trains and trailers.

    Args:
        root: folder that holds `IDD_Segmentation/` or `idd20kII/`, or one of these; default `$GKD_DATA/idd`.
        split: `train` or `val`; the labels of `test` are not public.
        part: 1 or 2, of different drives.

    Raises:
        UserError: at once for another part; otherwise as `PublishedSegmentation`; polygons that are damaged or of an
            unknown class.
    """

    card = Card(
        name="idd",
        title="IDD20K",
        homepage="https://idd.insaan.iiit.ac.in",
        licence="own licence, registration",
        counts={"train": 6993, "val": 981},
        size=(1920, 1080),
        tree="""\
idd/
  IDD_Segmentation/leftImg8bit/{train,val}/DRIVE/000000_leftImg8bit.png
  IDD_Segmentation/gtFine/{train,val}/DRIVE/000000_gtFine_polygons.json   (or _labelcsTrainIds.png, _labelids.png)
  idd20kII/leftImg8bit/{train,val}/DRIVE/frame0000_leftImg8bit.jpg
  idd20kII/gtFine/{train,val}/DRIVE/frame0000_gtFine_polygons.json        (or _labelcsTrainIds.png, _labelids.png)""",
        other_folders=("IDD", "idd20k", "IDD_Segmentation", "idd20kII"),
        notes=(
            "Counts are those of part 1; part 2 has 7034 and 1055.",
            "They are what users report whose sums agree (14027 and 2036 together), not the authors' own.",
            "Some images have another size.",
        ),
    )

    def __init__(self, root: str | None = None, split: Literal["train", "val"] = "val", part: Part = 1) -> None:
        if part not in _PARTS:
            raise UserError(f"IDD20K: no part {part!r}; give 1 or 2")
        super().__init__(root, split)
        if self.root.name in {folder for folder, _, _ in _PARTS.values()}:
            self.root = self.root.parent
        self.part, self.split_title = part, f"part {part} {split}"
        self.expected = _PARTS[part][2][split]

    def layouts(self) -> Sequence[Layout]:
        """Label maps that the authors' tool made, else polygons as published."""
        folder, suffix, _ = _PARTS[self.part]
        images, labels = f"{folder}/leftImg8bit/{self.split}", f"{folder}/gtFine/{self.split}"
        suffix = f"_leftImg8bit{suffix}"
        return (
            Layout("train ids", images, labels, suffix, "_gtFine_labelcsTrainIds.png"),
            Layout("ids", images, labels, suffix, "_gtFine_labelids.png", _CLASS_MAP),
            Layout("published", images, labels, suffix, "_gtFine_polygons.json", _CLASS_MAP, read_label=drawn_polygons),
        )


def drawn_polygons(path: Path) -> StoredLabel:
    """Ids uint8 (H, W) of a file of polygons, later ones over earlier ones, borders included.

    As preperation/json2labelImg.py of the authors' tool does it: Pillow draws, a name that ends in `group` means the
    class before it, what is deleted or has fewer than three corners is left out.

    Raises:
        UserError: no such file, damaged, or an object of an unknown class, which the tool would leave out.
    """
    plain = json_of(path)
    with record_of(path, "the file"):
        size = whole(plain["imgWidth"], "imgWidth"), whole(plain["imgHeight"], "imgHeight")
        objects = list(plain["objects"])
        picture = Pillow.new("L", size, _IDS["unlabeled"])
    pen = ImageDraw.Draw(picture)
    for place, each in enumerate(objects):
        with record_of(path, f"object {place} of the list"):
            corners = [(float(x), float(y)) for x, y in each["polygon"]]
            if each.get("deleted") or len(corners) < 3:
                continue
            name = str(each["label"])
            class_id = _IDS.get(name, _IDS.get(name.removesuffix("group")))
            if class_id is None:
                raise Damaged(f"{name!r} is none of IDD's classes")
            pen.polygon(corners, fill=class_id)
    return np.array(picture)
