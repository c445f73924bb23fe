"""A folder of images whose labels are shapes, as labelling tools write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data.annotations.matching import by_file_name
from gkd_lightning.data.annotations.rasters import Drawn, drawn
from gkd_lightning.data.annotations.shapes import Annotations
from gkd_lightning.data.annotations.sources import TOOLS, Source, annotations_of, source_of
from gkd_lightning.data.images import image_size
from gkd_lightning.data.labelled_folder import LabelledFolder, Pairs
from gkd_lightning.data.types import Instances, Label
from gkd_lightning.errors import UserError, nearest

_SHOWN = 8
"""Names in one message."""


class AnnotatedImages(LabelledFolder):
    """Images whose labels are polygons, boxes, circles or runs of pixels in the files of a labelling tool.

    The files tell which tool it was. They are read once, and drawn when a label is asked for; a pixel belongs to a
    shape if its centre lies in it. Classes are found by name.

    Args:
        images: folder of the images; sub-folders are searched.
        labels: the annotation file of all images, or a folder of a file an image.
        classes: class names in the order of their train ids, or a preset.
        unlabelled: what pixels in no shape are: the name of a class, or 255 if they have no truth.
        class_map: name in the files -> name or train id of a class (255 to ignore), beside those that are called as
            their class.
        palette: one [red, green, blue] per class; generated if missing.
        image_suffix: how image names end; if missing, any common image suffix.
        label_suffix: how names of annotation files end; if missing, it is found.
        overlap: which of two shapes has a pixel that lies in both: the later in the file or of the higher level
            (`order`), or the smaller (`area`); if missing, what fits the tool.
        background_only: images without a shape show nothing but the class `unlabelled`.
        list_file: text file naming the images to use, one per line, relative to `images`, suffix optional.
        skip_unlabelled: leave out images that have no shape instead of refusing the folder.
        things: names of the classes that are counted: every shape is an instance, but for crowds.

    Raises:
        UserError: at once for classes that make no sense; at the first use for files that are damaged, ambiguous or
            of no known tool, names without a class, and images without a shape; when it is read for an image of
            another size than its annotation says.
    """

    remedies = (
        "annotate it, or set skip_unlabelled, or background_only if such images show nothing but the class unlabelled"
    )

    def __init__(
        self,
        images: str,
        labels: str,
        classes: str | list[str],
        unlabelled: int | str,
        class_map: dict[str, int | str] | None = None,
        palette: list[list[int]] | None = None,
        image_suffix: str | None = None,
        label_suffix: str | None = None,
        overlap: Literal["order", "area"] | None = None,
        background_only: bool = False,
        list_file: str | None = None,
        skip_unlabelled: bool = False,
        things: list[str] | None = None,
    ) -> None:
        super().__init__(images, labels, classes, palette, things, image_suffix, list_file, skip_unlabelled)
        self.label_suffix, self.overlap, self.background_only = label_suffix, overlap, background_only
        self._unlabelled = self._class("unlabelled", unlabelled)
        self._class_map = {name: self._class(f"class_map: {name}", to) for name, to in (class_map or {}).items()}
        if overlap not in (None, "order", "area"):
            raise UserError(f"overlap: {overlap!r}; give order or area")
        if background_only and (skip_unlabelled or self._unlabelled == self.label_space.ignore):
            other = "skip_unlabelled leaves such images out" if skip_unlabelled else "unlabelled is no class"
            raise UserError(f"background_only: images without a shape are images of a class, but {other}; give one")

    def _class(self, key: str, value: int | str) -> int:
        names = self.label_space.names
        if isinstance(value, str) and value in names:
            return names.index(value)
        if isinstance(value, int) and (value == self.label_space.ignore or 0 <= value < len(names)):
            return value
        hint = nearest(value, names) if isinstance(value, str) else ""
        raise UserError(f"{key}: {value!r} is none of the classes {', '.join(names)}{hint}, nor 255 (no truth)")

    @cached_property
    def source(self) -> Source:
        """The files, and the tool that wrote them."""
        return source_of(self.labels, self.label_suffix)

    @property
    def annotations(self) -> Annotations:
        """What the files say."""
        return self._annotations

    @cached_property
    def _annotations(self) -> Annotations:
        return annotations_of(self.source)

    @property
    def shared_files(self) -> tuple[Path, ...]:
        """All files that labels of these images are made of."""
        return tuple(Path(file) for file in self._annotations.files)

    @cached_property
    def _record_of(self) -> dict[str, int]:
        """Position of its record, for every image that has one."""
        images, annotations = self._found_images(), self._annotations
        if not self.source.names:
            return by_file_name(images, annotations.records, str(self.labels))
        places = {record: place for place, record in enumerate(annotations.records)}
        wanted = {image: [name for name in self._label_names(image) if name in places] for image in images}
        for image, names in wanted.items():
            if len(names) > 1:
                raise UserError(f"{self.labels}: {names[0]} and {names[1]} are both of {image}; keep one")
        return {image: places[names[0]] for image, names in wanted.items() if names}

    def _label_names(self, image: str) -> list[str]:
        """Names that an image's own file may have: `a.json`, or `a.jpg.json` as Supervisely writes them."""
        suffix = self.label_suffix or Path(self.source.names[0]).suffix
        return [self._stem(image) + suffix, image + suffix]

    @cached_property
    def pairs(self) -> Pairs:
        """Images, and the record of each that has a shape.

        Raises:
            UserError: missing or damaged files, or two readings of which record is an image's.
        """
        images, annotations, records = self._found_images(), self._annotations, self._record_of
        having = {image for image, place in records.items() if len(annotations.shapes(place))}
        taken = set(records.values())
        rest = [record for place, record in enumerate(annotations.records) if place not in taken]
        return Pairs(
            labelled=[(image, image) for image in images if image in having or self.background_only],
            without_label=[image for image in images if image not in having and not self.background_only],
            without_image=sorted(rest) if self.list_file is None else [],
        )

    def looked_for(self, image: str) -> str:
        """What the annotations lack of an image, for a message.

        Args:
            image: one of `pairs.without_label`.
        """
        if image in self._record_of:
            return f"has no shape in {self.labels}"
        if self.source.names:
            wanted = self.labels / self._label_names(image)[0]
            return f"wants {wanted}, there is {self.source.names[0]} (image_suffix and label_suffix say how names end)"
        first = f", which begins with {self._annotations.records[0]}" if self._annotations.records else ""
        return f"is not in {self.labels}{first}"

    @cached_property
    def _samples(self) -> list[tuple[str, str]]:
        samples = super()._samples
        annotations, train_ids = self._annotations, self._train_ids
        unknown: Counter[str] = Counter()
        for image, _ in samples:
            if image in self._record_of:
                shapes = annotations.shapes(self._record_of[image])
                names = annotations.name[shapes.start : shapes.stop]
                unknown.update(annotations.names[place] for place in names[train_ids[names] < 0])
        if unknown:
            shown = ", ".join(f"{name} ({count} shapes)" for name, count in unknown.most_common(_SHOWN))
            more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
            raise UserError(
                f"{self.labels}: {shown}{more}: of no class; add such names to classes, or say in class_map which "
                "class each is (255 ignores)"
            )
        return samples

    @cached_property
    def _train_ids(self) -> NDArray[np.int16]:
        """Of every name in the files; -1 without a class."""
        known = {name: place for place, name in enumerate(self.label_space.names)} | self._class_map
        return np.array([known.get(name, -1) for name in self._annotations.names], np.int16)

    def label(self, index: int) -> Label:
        """Train ids uint8 (H, W), `unlabelled` in no shape. Of the image the size is looked at, not its pixels.

        Raises:
            UserError: the image has another size than the annotation says.
        """
        image = self._samples[index][0]
        height, width = self._size(image)
        label = np.full((height, width), self._unlabelled, np.uint8)
        for each in self._drawn(image, height, width):
            train_id = self._train_ids[self._annotations.name[each.shape]]
            np.copyto(label[each.rows, each.columns], np.uint8(train_id), where=each.inside)
        return label

    @property
    def has_instances(self) -> bool:
        """Whether some classes are counted."""
        return bool(self.label_space.things)

    def instances(self, index: int) -> Instances:
        """Instances int32 (H, W): shapes in the order of the file from 1; 0 in no shape and in crowds."""
        image = self._samples[index][0]
        height, width = self._size(image)
        numbers = np.zeros((height, width), np.int32)
        for each in self._drawn(image, height, width):
            first = self._annotations.shapes(self._record_of[image]).start
            crowd = self._annotations.crowd[each.shape]
            number = np.int32(0 if crowd else each.shape - first + 1)
            np.copyto(numbers[each.rows, each.columns], number, where=each.inside)
        return numbers

    def _drawn(self, image: str, height: int, width: int) -> Iterator[Drawn]:
        if image in self._record_of:
            tool = TOOLS[self.source.tool]
            by_area = tool.by_area if self.overlap is None else self.overlap == "area"
            yield from drawn(self._annotations, self._record_of[image], height, width, by_area, tool.to_edge)

    def _size(self, image: str) -> tuple[int, int]:
        """(height, width) of the image, which is what its annotation says."""
        path = self.images / image
        found = image_size(path)
        if image in self._record_of:
            said = tuple(self._annotations.sizes[self._record_of[image]].tolist())
            if said not in ((0, 0), found):
                turned = said == found[::-1]
                advice = ", as EXIF turns it: save it upright" if turned else "; export again, or give the size it had"
                raise UserError(
                    f"{path}: the image has {found[1]}x{found[0]} pixels, its annotation in {self.labels} is for "
                    f"{said[1]}x{said[0]}{advice}"
                )
        return found
