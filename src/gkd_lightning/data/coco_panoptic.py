"""COCO's panoptic format (https://cocodataset.org/#format-data): a PNG of segment ids an image, a JSON for all."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data.images import read_image
from gkd_lightning.data.labels import label_space, read_stored_label
from gkd_lightning.data.types import Image, Instances, Label, LabelSpace
from gkd_lightning.errors import UserError

_VOID = 0
_COLOURS = 2**24


class _Segment(NamedTuple):
    """A line of `segments_info`."""

    category: int
    crowd: bool


class _Entry(NamedTuple):
    """An image of the JSON, and what its annotation says."""

    image: str
    segments: str
    size: tuple[int, int] | None
    """(height, width), if the JSON says it."""
    by_id: dict[int, _Segment]


class CocoPanoptic:
    """Images with COCO's panoptic annotations: `id = R + 256 G + 256² B` in the PNG, classes in the JSON.

    A crowd's pixels have its class and no instance. Black is no truth.

    Args:
        images: folder of the images.
        segments: folder of the PNGs.
        annotations: the JSON: `images`, `annotations` with `segments_info`, `categories`.
        classes: names in the order of their train ids, or a preset; categories by other names are ignored. If missing,
            they are the file's categories in its order.
        palette: one [red, green, blue] per class; generated, or the preset's, if missing.
        things: names of the classes that are counted; if missing, those of which the file says `isthing`.

    Raises:
        UserError: at the first use for a file that is none of this kind; for an image whose PNG and JSON contradict
            each other; for classes that make no sense.
    """

    has_instances = True

    def __init__(
        self,
        images: str,
        segments: str,
        annotations: str,
        classes: str | list[str] | None = None,
        palette: list[list[int]] | None = None,
        things: list[str] | None = None,
    ) -> None:
        self.images, self.segments, self.annotations = Path(images), Path(segments), Path(annotations)
        self.shared_files = (self.annotations,)
        self._asked = classes, palette, things
        self._last: tuple[int, tuple[Label, Instances]] | None = None

    @cached_property
    def label_space(self) -> LabelSpace:
        """The classes that are asked for, or the file's."""
        classes, palette, things = self._asked
        names = [name for name, _ in self._categories.values()]
        space = label_space(names if classes is None else classes, palette, things)
        if things is not None:
            return space
        counted = {name for name, thing in self._categories.values() if thing}
        return LabelSpace(space.names, space.palette, things=tuple(name for name in space.names if name in counted))

    def __len__(self) -> int:
        return len(self._entries)

    def name(self, index: int) -> str:
        """The image's path below its folder, without the suffix."""
        return str(Path(self._entries[index].image).with_suffix(""))

    def image_path(self, index: int) -> Path:
        """The image's file."""
        return self.images / self._entries[index].image

    def label_path(self, index: int) -> Path:
        """The PNG of an image; what its ids mean stands in the JSON."""
        return self.segments / self._entries[index].segments

    def image(self, index: int) -> Image:
        """RGB uint8 (H, W, 3)."""
        return read_image(self.image_path(index))

    def label(self, index: int) -> Label:
        """Train ids uint8 (H, W), 255 where there is no truth.

        Raises:
            UserError: PNG and JSON contradict each other.
        """
        return self._looked_up(index)[0]

    def instances(self, index: int) -> Instances:
        """Segments of things int32 (H, W), numbered in the order of their ids; 0 for stuff and crowds."""
        return self._looked_up(index)[1]

    def _looked_up(self, index: int) -> tuple[Label, Instances]:
        if self._last is None or self._last[0] != index:  # label and instances are asked for one after the other
            self._last = index, self._read(index)
        return self._last[1]

    def _read(self, index: int) -> tuple[Label, Instances]:
        entry, path = self._entries[index], self.label_path(index)
        stored = read_stored_label(path)
        if stored.ndim != 3:
            raise UserError(f"{path}: is no RGB picture, in which COCO's panoptic format holds ids")
        if entry.size is not None and stored.shape[:2] != entry.size:
            sizes = f"{stored.shape[1]}x{stored.shape[0]}, in {self.annotations} {entry.size[1]}x{entry.size[0]}"
            raise UserError(f"{path}: is {sizes}")
        wide = stored.astype(np.int32)
        pixels = wide[..., 0] + 256 * wide[..., 1] + 65536 * wide[..., 2]
        ids = [_VOID, *sorted(entry.by_id)]
        table = np.zeros(_COLOURS, np.uint16)  # sorting two million pixels takes twenty times as long
        table[ids] = range(1, len(ids) + 1)
        places = table[pixels]
        there = np.bincount(places.ravel(), minlength=len(ids) + 1) > 0
        if there[0]:
            number = pixels[places == 0].min()
            raise UserError(f"{path}: has segment {number}, which {self.annotations} lacks")
        for number, found in zip(ids[1:], there[2:], strict=True):
            if not found:
                raise UserError(f"{path}: lacks segment {number}, which {self.annotations} has")
        trains, numbers = self._tables(entry, ids)
        return trains[places - 1], numbers[places - 1]

    def _tables(self, entry: _Entry, ids: list[int]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Train id and instance number of each id."""
        space = self.label_space
        train_ids = {name: index for index, name in enumerate(space.names)}
        trains, numbers = np.full(len(ids), space.ignore, np.uint8), np.zeros(len(ids), np.int32)
        for place, number in enumerate(ids):
            if number != _VOID:
                segment = entry.by_id[number]
                name, _ = self._categories[segment.category]
                trains[place] = train_ids.get(name, space.ignore)
                numbers[place] = place if name in space.things and not segment.crowd else 0
        return trains, numbers

    @cached_property
    def _plain(self) -> dict[str, Any]:
        try:
            plain = json.loads(self.annotations.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{self.annotations}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise UserError(f"{self.annotations}: is no JSON ({error})") from error
        if not isinstance(plain, dict) or not {"images", "annotations", "categories"} <= plain.keys():
            raise UserError(f"{self.annotations}: has no images, annotations and categories, which COCO's have")
        return plain

    @cached_property
    def _categories(self) -> dict[int, tuple[str, bool]]:
        """Name and whether it is a thing, by id."""
        try:
            return {int(each["id"]): (str(each["name"]), bool(each["isthing"])) for each in self._plain["categories"]}
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{self.annotations}: categories: need id, name and isthing ({error!r})") from error

    @cached_property
    def _entries(self) -> list[_Entry]:
        try:
            images = {each["id"]: each for each in self._plain["images"]}
            entries = [self._entry(images.get(each["image_id"]), each) for each in self._plain["annotations"]]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{self.annotations}: not in COCO's panoptic format ({error!r})") from error
        if not entries:
            raise UserError(f"{self.annotations}: has no annotation")
        return entries

    def _entry(self, image: dict[str, Any] | None, annotation: dict[str, Any]) -> _Entry:
        if image is None:
            raise UserError(f"{self.annotations}: annotates image {annotation['image_id']}, which it lacks")
        by_id = {}
        for each in annotation["segments_info"]:
            if each["category_id"] not in self._categories:
                raise UserError(
                    f"{self.annotations}: {annotation['file_name']}: segment {each['id']} is of category "
                    f"{each['category_id']}, which it lacks"
                )
            if not _VOID < int(each["id"]) < _COLOURS:
                raise UserError(
                    f"{self.annotations}: {annotation['file_name']}: segment {each['id']} is no colour of a picture"
                )
            by_id[int(each["id"])] = _Segment(int(each["category_id"]), bool(each.get("iscrowd", 0)))
        size = (int(image["height"]), int(image["width"])) if {"height", "width"} <= image.keys() else None
        return _Entry(str(image["file_name"]), str(annotation["file_name"]), size, by_id)
