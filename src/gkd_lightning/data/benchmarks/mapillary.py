"""Mapillary Vistas v1.2 and v2.0 (Neuhold et al., ICCV 2017), in Cityscapes' classes and at half size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image as Pillow

from gkd_lightning.data.benchmarks.published import Card, Layout, PublishedSegmentation
from gkd_lightning.data.images import read_image
from gkd_lightning.data.labels import StoredLabel, read_stored_label
from gkd_lightning.data.types import CITYSCAPES_19, Image
from gkd_lightning.errors import UserError

_FOLDERS = {"train": "training", "val": "validation"}

_RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("traffic light", ("trafficlight",)),
    ("traffic sign", ("trafficsign", "front", "back")),
    ("train", ("onrail",)),
    ("rider", ("cyclist", "rider")),
    ("pole", ("pole", "streetlight")),
    ("sidewalk", ("curb", "pedestrianarea")),
    ("road", ("crosswalkplain", "parking", "bikelane", "servicelane", "lanemarking")),
)
"""The official repository's rules (tools/convert_datasets/mapillary2cityscape.py), in their order.

The first is ours: it changes nothing for v1.2, and keeps v2.0's `Traffic Light - Cyclists` from being a rider.
"""


class Mapillary(PublishedSegmentation):
    """Class names of the data set's own configuration file are turned into Cityscapes' 19 classes.

    Args:
        root: folder that holds `training/`, `validation/` and `config_v1.2.json`; default `$GKD_DATA/mapillary`.
        split: `train` (18,000 images) or `val` (2,000).
        version: of the labels.
        half: read images (bicubic) and labels (nearest) at half their size, as the official evaluation does.
            Files that were halved before, `half/val_img` and `half/val_label`, are read as they are.

    Raises:
        UserError: as `PublishedSegmentation`; a configuration file that is missing or not the data set's.
    """

    card = Card(
        name="mapillary",
        title="Mapillary Vistas",
        homepage="https://www.mapillary.com/dataset/vistas",
        licence="CC BY-NC-SA 4.0, registration",
        counts={"train": 18000, "val": 2000},
        size=(4032, 3024),
        tree="""\
mapillary/
  config_v1.2.json  config_v2.0.json                  (or config.json)
  {training,validation}/images/NAME.jpg
  {training,validation}/v1.2/labels/NAME.png          (or v2.0/labels, or labels)
  half/val_img/NAME.jpg, half/val_label/NAME.png      (prepared; instead of validation/)""",
        official_size=(1024, 512),
    )

    def __init__(
        self,
        root: str | None = None,
        split: Literal["train", "val"] = "val",
        version: Literal["v1.2", "v2.0"] = "v1.2",
        half: bool = True,
    ) -> None:
        if version not in ("v1.2", "v2.0"):
            raise UserError(f"Mapillary Vistas: no version {version!r}; give v1.2 or v2.0")
        super().__init__(root, split)
        self.version, self.half, self.reduced = version, half, half
        self.split_title = f"{split} {version}{', half size' if half else ''}"

    def layouts(self) -> Sequence[Layout]:
        """As published (two packings), then the official repository's prepared files."""
        folder = _FOLDERS[self.split]
        found = [
            Layout(
                "published",
                f"{folder}/images",
                labels,
                ".jpg",
                ".png",
                class_map=self._class_map,
                read_image=_halved_image if self.half else read_image,
                read_label=_halved_label if self.half else read_stored_label,
            )
            for labels in (f"{folder}/{self.version}/labels", f"{folder}/labels")
        ]
        if self.split == "val" and self.half:
            found.append(Layout("prepared", "half/val_img", "half/val_label", ".jpg", ".png"))
        if self.split == "train" and not self.half:
            labels = "cityscapes_trainIdLabel/train/label"
            found.append(Layout("prepared", "training/images", labels, ".jpg", ".png"))
        return found

    def _class_map(self) -> dict[int, int]:
        names = [self.root / f"config_{self.version}.json", self.root / "config.json"]
        path = next((name for name in names if name.is_file()), None)
        if path is None:
            raise UserError(f"{names[0]}: no such file; it names the classes and comes with Mapillary Vistas")
        try:
            classes = [entry["readable"] for entry in json.loads(path.read_text(encoding="utf-8"))["labels"]]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not Mapillary's list of classes (labels[].readable): {error!r}") from error
        return class_map(classes)


def class_map(readable: Sequence[str]) -> dict[int, int]:
    """Mapillary class id (position) -> Cityscapes train id, 255 where no rule applies.

    Args:
        readable: class names such as ``Lane Marking - General``.
    """
    by_name = {_plain(name): train_id for train_id, name in enumerate(CITYSCAPES_19.names)}
    return {class_id: _train_id(_plain(name), by_name) for class_id, name in enumerate(readable)}


def _train_id(name: str, by_name: dict[str, int]) -> int:
    if name in by_name:
        return by_name[name]
    for target, parts in _RULES:
        if any(part in name for part in parts):
            return by_name[_plain(target)]
    return 255


def _plain(name: str) -> str:
    return name.lower().replace(" ", "").replace("-", "")


def _half(pixels: np.ndarray, resample: Pillow.Resampling) -> np.ndarray:
    height, width = pixels.shape[:2]
    return np.asarray(Pillow.fromarray(pixels).resize((width // 2, height // 2), resample))


def _halved_image(path: Path) -> Image:
    return _half(read_image(path), Pillow.Resampling.BICUBIC)


def _halved_label(path: Path) -> StoredLabel:
    return _half(read_stored_label(path), Pillow.Resampling.NEAREST)
