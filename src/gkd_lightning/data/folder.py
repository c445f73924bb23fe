"""Anybody's labelled data: a folder of images, a folder of labels, class names; and CamVid, which is such a pair."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from gkd_lightning.data.images import list_images
from gkd_lightning.data.labelled_folder import LabelledFolder, Pairs
from gkd_lightning.data.labels import LabelMapping, StoredLabel, named_map, read_instances, read_stored_label
from gkd_lightning.data.types import Instances, Label
from gkd_lightning.data.unknown import UnknownPixels
from gkd_lightning.errors import UserError


class FolderSegmentation(LabelledFolder):
    """Images and labels that share their path up to the suffix, as `a/b.jpg` and `a/b.png`.

    Args:
        images: folder of the images; sub-folders are searched.
        labels: folder of the labels, with the same sub-folders. Ids (8 or 16 bit, palette indices too) or
            RGB masks in the palette's colours, in which black that is no class's colour is ignored.
        classes: class names in the order of their train ids, or a preset (`cityscapes-19`, `camvid-11`,
            `minicity-8`).
        palette: one [red, green, blue] per class for pictures and colour-coded labels; generated if missing.
        class_map: stored id -> train id (255 to ignore), or ``cityscapes-ids`` for raw Cityscapes ids; if missing,
            stored ids are train ids.
        image_suffix: how image names end, e.g. `_leftImg8bit.png`; if missing, any common image suffix.
        label_suffix: what stands in its place in the label's name, e.g. `_gtFine_labelTrainIds.png`.
        ignore: the stored id without truth; None if every pixel has a class.
        instances: folder of instance maps for `segments: panoptic`, with the same sub-folders: whole numbers of 8, 16
            or 32 bit, 0 for no instance. A thing's pixel without one belongs to a crowd.
        instance_suffix: what stands in the place of the image's suffix in the name of its instance map.
        things: names of the classes that are counted; if missing, those of a preset.
        unknown_ids: stored ids of objects that no class is for, such as animals on a road. They have no truth, and an
            evaluation asks whether confidence is low there.
        list_file: text file naming the images to use, one per line, relative to `images`, suffix optional.
        skip_unlabelled: leave out images that have no label instead of refusing the folder.

    Raises:
        UserError: at once for classes that make no sense; at the first use for folders that are missing or
            empty, for images without a label, for a listed image that does not exist.
    """

    def __init__(
        self,
        images: str,
        labels: str,
        classes: str | list[str],
        palette: list[list[int]] | None = None,
        class_map: dict[int, int] | str | None = None,
        image_suffix: str | None = None,
        label_suffix: str = ".png",
        ignore: int | None = 255,
        list_file: str | None = None,
        skip_unlabelled: bool = False,
        instances: str | None = None,
        instance_suffix: str = ".png",
        things: list[str] | None = None,
        unknown_ids: list[int] | None = None,
    ) -> None:
        super().__init__(images, labels, classes, palette, things, image_suffix, list_file, skip_unlabelled)
        self.unknown_ids = tuple(unknown_ids or ())
        self.instances_folder, self.instance_suffix = None if instances is None else Path(instances), instance_suffix
        self._mapping = LabelMapping(self.label_space, named_map(class_map), ignore, self.unknown_ids)
        self.label_suffix = label_suffix

    @cached_property
    def pairs(self) -> Pairs:
        """What lies in the folders, paired; refuses nothing but missing and empty folders."""
        images = self._found_images()
        labels = set(list_images(self.labels, self.label_suffix))
        wanted = [(image, self._label_name(image)) for image in images]
        if self.images.resolve() == self.labels.resolve():
            own = [image for image, label in wanted if image == label]
            if own:
                raise UserError(
                    f"{self.images / own[0]}: would be its own label ({len(own)} such images); with images and labels "
                    "in one folder give image_suffix and label_suffix that tell them apart, such as .jpg and _mask.png"
                )
        return Pairs(
            labelled=[pair for pair in wanted if pair[1] in labels],
            without_label=[image for image, label in wanted if label not in labels],
            without_image=sorted(labels - {label for _, label in wanted}) if self.list_file is None else [],
        )

    def _label_name(self, image: str) -> str:
        return self._label_stem(self._stem(image)) + self.label_suffix

    def _label_stem(self, stem: str) -> str:
        return stem

    def looked_for(self, image: str) -> str:
        """The label that an image without one wants, and what is there instead, for a message.

        Args:
            image: one of `pairs.without_label`.
        """
        wanted, there = self._label_name(image), list_images(self.labels)
        text = f"wants {self.labels / wanted}"
        if not there:
            return f"{text}, and there is no picture in this folder"
        other_case = [name for name in there if name.lower() == wanted.lower()]
        if other_case:
            return f"{text}, there is {other_case[0]}: labels, unlike image suffixes, differ by upper and lower case"
        if self.pairs.labelled:
            return text
        stem = self._label_stem(self._stem(image))
        nearest = next((name for name in there if name.startswith(stem)), there[0])
        return (
            f"{text}, there is {nearest}; check image_suffix ({self.image_suffix or 'any'}), in whose place "
            f"label_suffix ({self.label_suffix}) stands"
        )

    def label_path(self, index: int) -> Path:
        """The label's file."""
        return self.labels / self._samples[index][1]

    def label(self, index: int) -> Label:
        """Train ids uint8 (H, W), 255 where there is no truth.

        Raises:
            UserError: an unreadable file, or an id or colour without a class; the message names file and id.
        """
        path = self.label_path(index)
        return self._mapping(self._stored_label(path), str(path))

    @property
    def has_instances(self) -> bool:
        """Whether there is a folder of instance maps."""
        return self.instances_folder is not None

    def instances_path(self, index: int) -> Path:
        """The file of an image's instances."""
        assert self.instances_folder is not None
        return self.instances_folder / (self._label_stem(self._stem(self._samples[index][0])) + self.instance_suffix)

    def instances(self, index: int) -> Instances:
        """Instances int32 (H, W), 0 where there is none.

        Raises:
            UserError: a file that is missing, damaged, or holds no numbers.
        """
        return read_instances(self.instances_path(index))

    @property
    def has_unknown(self) -> bool:
        """Whether ids of unknown objects are known."""
        return bool(self.unknown_ids)

    def unknown(self, index: int) -> UnknownPixels:
        """Pixels of objects that no class is for, bool (H, W).

        Raises:
            UserError: as `label`; or a label in colours, which has no ids.
        """
        path = self.label_path(index)
        stored = self._stored_label(path)
        if stored.ndim != 2:
            raise UserError(f"{path}: holds colours; unknown_ids are ids")
        return np.isin(stored, self.unknown_ids)

    def _stored_label(self, path: Path) -> StoredLabel:
        return read_stored_label(path)


class CamVid(FolderSegmentation):
    """CamVid: `ROOT/images/SPLIT/NAME.jpg` and `ROOT/labels/SPLIT/NAME.png`, ids 0 to 10, 11 = void = ignored.

    Args:
        root: the data set's folder; default `$GKD_DATA/camvid`.
        split: 367 images to train, 101 to validate, 233 to test.

    Raises:
        UserError: neither `root` nor GKD_DATA is given; otherwise as `FolderSegmentation`.
    """

    def __init__(self, root: str | None = None, split: Literal["train", "val", "test"] = "train") -> None:
        if root is None and not os.environ.get("GKD_DATA"):
            raise UserError("GKD_DATA is not set: export it as the folder that holds the data sets, or give root")
        base = Path(os.environ["GKD_DATA"], "camvid") if root is None else Path(root)
        super().__init__(
            images=str(base / "images" / split),
            labels=str(base / "labels" / split),
            classes="camvid-11",
            image_suffix=".jpg",
            ignore=11,
        )
