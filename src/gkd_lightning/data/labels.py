"""From a label file to train ids: reading it as stored, then mapping ids or colours to classes."""

from __future__ import annotations

import colorsys
import os
from collections.abc import Sequence
from functools import cached_property
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageOps

from gkd_lightning.data import archives
from gkd_lightning.data.images import DECODING_ERRORS, opened, unreadable
from gkd_lightning.data.types import (
    CAMVID_11,
    CITYSCAPES_19,
    ISPRS_6,
    LOVEDA_7,
    MINICITY_8,
    OPENEARTHMAP_8,
    RESCUE_5,
    Instances,
    Label,
    LabelSpace,
)
from gkd_lightning.errors import UserError

StoredLabel = NDArray[np.integer]
"""What a label file holds: ids (H, W), or colours (H, W, 3)."""

PRESETS = {
    "cityscapes-19": CITYSCAPES_19,
    "camvid-11": CAMVID_11,
    "minicity-8": MINICITY_8,
    "isprs-6": ISPRS_6,
    "rescue-5": RESCUE_5,
    "loveda-7": LOVEDA_7,
    "openearthmap-8": OPENEARTHMAP_8,
}
"""Label spaces that a configuration can call by name."""

TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9,
    23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip
"""Label id of Cityscapes, GTAV and ACDC -> train id of the 19 evaluated classes."""

CLASS_MAP = {label_id: TRAIN_IDS.get(label_id, 255) for label_id in (-1, *range(35), 255)}
"""Every id that occurs in the files; 0 to 6, 9, 10, 14 to 16, 18, 29, 30 and the licence plate (-1, 34) are void."""

CLASS_MAPS = {"cityscapes-ids": ("cityscapes-19", CLASS_MAP)}
"""Maps that a configuration can call by name, from raw ids to train ids, and the preset whose ids these are."""

_UNMAPPED = -1
_MOST_SHOWN = 8
"""Ids without a class in one message."""


def from_one(classes: int) -> dict[int, int]:
    """Stored id -> train id of labels that count classes from 1 and have no truth at 0."""
    return {0: 255, **{train_id + 1: train_id for train_id in range(classes)}}


def label_space(
    classes: str | list[str], palette: list[list[int]] | None = None, things: list[str] | None = None
) -> LabelSpace:
    """A label space from class names (train id = position) and colours, or one of `PRESETS` by its name.

    Without a palette the colours are spread evenly over the hues, so that neighbours in the list differ. Without
    `things` they are a preset's own, and none of other classes.

    Raises:
        UserError: an unknown preset, repeated names, more than 255 classes, a palette that does not fit, or a thing
            that is no class.
    """
    counted: tuple[str, ...] = ()
    if isinstance(classes, str):
        if classes not in PRESETS:
            raise UserError(f"classes: no preset {classes!r}; give one of {', '.join(PRESETS)} or a list of names")
        names, colours, counted = PRESETS[classes].names, PRESETS[classes].palette, PRESETS[classes].things
    else:
        names, colours = tuple(classes), default_palette(len(classes))
    if not 1 <= len(names) <= 255:
        raise UserError(f"classes: {len(names)} names; give 1 to 255 (255 is the id of ignored pixels)")
    if len(set(names)) < len(names):
        raise UserError(f"classes: {next(n for n in names if names.count(n) > 1)!r} is listed twice")
    if palette is not None:
        bad = [colour for colour in palette if len(colour) != 3 or not all(0 <= value <= 255 for value in colour)]
        if bad or len(palette) != len(names):
            problem = f"{bad[0]} is no RGB colour" if bad else f"{len(palette)} colours for {len(names)} classes"
            raise UserError(f"palette: {problem}; give one [red, green, blue] with values 0 to 255 per class")
        colours = tuple((colour[0], colour[1], colour[2]) for colour in palette)
    if things is not None:
        counted = tuple(things)
        unknown = next((name for name in counted if name not in names), None)
        if unknown is not None:
            raise UserError(f"things: {unknown!r} is none of the classes {', '.join(names)}")
    return LabelSpace(names=names, palette=colours, things=counted)


def named_map(class_map: dict[int, int] | str | None) -> dict[int, int] | None:
    """The map that a name of `CLASS_MAPS` means; any other as it is.

    Raises:
        UserError: an unknown name.
    """
    if not isinstance(class_map, str):
        return class_map
    if class_map not in CLASS_MAPS:
        raise UserError(f"class_map: no map {class_map!r}; give one of {', '.join(CLASS_MAPS)}, or stored id: train id")
    return CLASS_MAPS[class_map][1]


def default_palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """`count` different colours: golden-angle hues in three brightnesses, the same on every machine."""
    colours = []
    for index in range(count):
        hue = (index * 0.61803398875) % 1.0
        red, green, blue = colorsys.hsv_to_rgb(hue, (0.75, 0.55, 0.9)[index % 3], (0.9, 0.75, 0.6)[index // 3 % 3])
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return tuple(colours)


LOSSLESS = ("PNG", "BMP", "TIFF", "PPM")
"""Formats of labels."""


def read_stored_label(path: str | os.PathLike[str]) -> StoredLabel:
    """A label file as stored, but upright: ids (H, W) of 8, 16 or 32 bit (palette indices too), or colours (H, W, 3).

    Raises:
        UserError: no such file, damaged, or neither ids nor colours.
    """
    try:
        # not by its path: Pillow maps a plain grey TIFF into memory, where it muddles one that EXIF turns
        with opened(BytesIO(archives.read_bytes(path))) as image:
            if image.format not in LOSSLESS:
                raise ValueError(f"it is a {image.format}, whose compression changes ids; labels are PNG, BMP or TIFF")
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            if image.mode in ("RGB", "RGBA"):
                return np.array(image.convert("RGB"))
            if image.mode in ("L", "P") or image.mode.startswith("I"):
                return np.array(image)
            if image.mode == "1":
                return np.array(image, dtype=np.uint8)
            raise ValueError(f"mode {image.mode} holds neither ids nor RGB colours")
    except DECODING_ERRORS as error:
        raise unreadable(path, error, "label") from error


def read_instances(path: str | os.PathLike[str]) -> Instances:
    """An instance map as stored, int32 (H, W): 8, 16 or 32 bit numbers, 0 where there is no instance.

    Raises:
        UserError: no such file, damaged, or colours in the place of numbers.
    """
    stored = read_stored_label(path)
    if stored.ndim != 2:
        raise UserError(f"{path}: holds colours; an instance map holds whole numbers of 8, 16 or 32 bit, 0 for none")
    return stored.astype(np.int32)


def class_counts(label: StoredLabel) -> NDArray[np.int64]:
    """Pixels of each of the 256 ids of a map uint8 (H, W)."""
    histogram = cv2.calcHist([np.ascontiguousarray(label)], [0], None, [256], [0, 256])
    return np.asarray(histogram, dtype=np.int64).ravel()  # float32 counts exactly up to 16.7 million pixels


class LabelMapping:
    """Maps what a label file stores to train ids.

    Args:
        space: the classes; their palette also decodes colour-coded masks.
        class_map: stored id -> train id (`space.ignore` to ignore it); None means that ids are train ids.
        ignore: the stored id that means "no truth", or None. An entry of `class_map` for 255 wins over the usual 255.
        unknown: stored ids of objects that no class is for: they have no truth either.

    Raises:
        UserError: a train id outside the classes, or an id that is to be ignored or unknown and a class as well.
    """

    def __init__(
        self,
        space: LabelSpace,
        class_map: dict[int, int] | None = None,
        ignore: int | None = 255,
        unknown: Sequence[int] = (),
    ) -> None:
        self.space = space
        identity = {index: index for index in range(len(space))}
        ignored = {} if ignore is None else {ignore: space.ignore}
        chosen = identity if class_map is None else class_map
        if ignore not in (None, 255) and chosen.get(ignore, space.ignore) != space.ignore:
            raise UserError(
                f"ignore: {ignore} is also the id of the class '{space.names[chosen[ignore]]}'; say in class_map which "
                f"stored id is which class, such as {{{ignore}: {space.ignore}, {ignore + 1}: 0}}"
            )
        taken = next((each for each in unknown if chosen.get(each, space.ignore) != space.ignore), None)
        if taken is not None:
            raise UserError(f"unknown_ids: {taken} is also the id of the class '{space.names[chosen[taken]]}'")
        self.mapping = {**ignored, **chosen, **dict.fromkeys(unknown, space.ignore)}
        for stored, train in self.mapping.items():
            if train != space.ignore and not 0 <= train < len(space):
                raise UserError(
                    f"class_map: {stored} is mapped to {train}, but the train ids are 0 to {len(space) - 1} "
                    f"and {space.ignore} to ignore"
                )
            if not -1 <= stored <= 65535:
                raise UserError(f"class_map: {stored} is no label id; ids are 0 to 65535 (and -1 in 32 bit files)")

    @cached_property
    def _table(self) -> NDArray[np.int16]:
        """Train id of every stored id from -1 to 65535, at position id + 1."""
        table = np.full(65537, _UNMAPPED, dtype=np.int16)
        for stored, train in self.mapping.items():
            table[stored + 1] = train
        return table

    @cached_property
    def _colours(self) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
        codes = _codes(np.array(self.space.palette, dtype=np.uint8))
        if len(np.unique(codes)) < len(codes):
            raise UserError("palette: two classes have the same colour, so colour-coded labels cannot be told apart")
        order = np.argsort(codes)
        return codes[order], order.astype(np.int16)

    def __call__(self, stored: StoredLabel, where: str) -> Label:
        """Train ids uint8 (H, W). Black, if it is no class's colour, is ignored in colour-coded masks.

        Args:
            stored: what `read_stored_label` gave.
            where: file name for the message.

        Raises:
            UserError: an id or colour without a class.
        """
        byte_ids = stored.dtype == np.uint8 and stored.ndim == 2
        # a histogram of ids is several times faster than looking at the train id of every pixel
        if byte_ids and not (self._table[1:257][class_counts(stored) > 0] == _UNMAPPED).any():
            return np.asarray(cv2.LUT(np.ascontiguousarray(stored), self._bytes), dtype=np.uint8)
        train = self._from_colours(stored) if stored.ndim == 3 else self._from_ids(stored)
        if train.min() == _UNMAPPED:
            raise UserError(f"{where}: {_without_class(stored, train == _UNMAPPED)}")
        return train.astype(np.uint8)

    @cached_property
    def _bytes(self) -> NDArray[np.uint8]:
        """Train id of every stored id from 0 to 255; what is unmapped holds anything."""
        return self._table[1:257].astype(np.uint8)

    def _from_ids(self, stored: StoredLabel) -> NDArray[np.int16]:
        wide = stored.astype(np.int64)
        inside = (wide >= -1) & (wide <= 65535)
        return np.where(inside, self._table[np.where(inside, wide + 1, 0)], np.int16(_UNMAPPED))

    def _from_colours(self, stored: StoredLabel) -> NDArray[np.int16]:
        palette, classes = self._colours
        codes = _codes(stored)
        position = np.minimum(np.searchsorted(palette, codes), len(palette) - 1)
        other = np.where(codes == 0, np.int16(self.space.ignore), np.int16(_UNMAPPED))
        return np.where(palette[position] == codes, classes[position], other)


def _without_class(stored: StoredLabel, missing: NDArray[np.bool_]) -> str:
    """The ids or colours that belong to no class, with their share of the pixels, the most frequent first."""
    coloured = stored.ndim == 3
    found, counts = np.unique(_codes(stored[missing]) if coloured else stored[missing], return_counts=True)
    shown = [
        f"{tuple(int(found[i]).to_bytes(3, 'big')) if coloured else found[i]} ({_percent(counts[i] / missing.size)})"
        for i in np.argsort(-counts, kind="stable")[:_MOST_SHOWN]
    ]
    what, advice = "label id", "map it in class_map (255 ignores)"
    if coloured:
        what, advice = "colour", "add it to the palette"
    if len(found) == 1:
        return f"{what} {shown[0]} belongs to no class; {advice}"
    advice = advice.replace("it", "them")
    if len(found) > _MOST_SHOWN:
        shown[-1] += f" and {len(found) - _MOST_SHOWN} more"
        advice += ", unless the file is a picture, or was a JPEG, smoothed or resized before"
    return f"{what}s {', '.join(shown)} belong to no class; {advice}"


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.0005 else "under 0.1%"


def _codes(colours: StoredLabel) -> NDArray[np.int64]:
    wide = colours.astype(np.int64)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
