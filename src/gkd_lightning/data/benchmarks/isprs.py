"""The ISPRS 2D labelling benchmarks Potsdam and Vaihingen: aerial images in visible and infrared light."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import ClassVar, Literal, NamedTuple, get_args

import numpy as np

from gkd_lightning.data.benchmarks.published import Card, LaidOut, Layout, PublishedSegmentation
from gkd_lightning.data.benchmarks.tiles import Area, Tiles
from gkd_lightning.data.labels import LabelMapping, StoredLabel
from gkd_lightning.data.types import ISPRS_6, RESCUE_5, Label, LabelSpace
from gkd_lightning.errors import UserError

Bands = Literal["RGB", "IRRG"]
BANDS: tuple[Bands, ...] = get_args(Bands)
Classes = Literal["isprs-6", "rescue-5"]

AREAS: dict[str, dict[str, tuple[str, ...]]] = {
    "potsdam": {
        "train": (
            "2_10", "2_11", "2_12", "3_10", "3_11", "3_12", "4_10", "4_11", "4_12", "5_10", "5_11", "5_12",
            "6_10", "6_11", "6_12", "6_7", "6_8", "6_9", "7_10", "7_11", "7_12", "7_7", "7_8", "7_9",
        ),
        "val": (
            "2_13", "2_14", "3_13", "3_14", "4_13", "4_14", "4_15", "5_13", "5_14", "5_15", "6_13", "6_14", "6_15",
            "7_13",
        ),
    },
    "vaihingen": {
        "train": ("1", "3", "5", "7", "11", "13", "15", "17", "21", "23", "26", "28", "30", "32", "34", "37"),
        "val": ("2", "4", "6", "8", "10", "12", "14", "16", "20", "22", "24", "27", "29", "31", "33", "35", "38"),
    },
}  # fmt: skip
"""The benchmark's own split, which mmsegmentation uses: areas with public labels, then those it held back first."""

_SPACES: dict[str, LabelSpace] = {"isprs-6": ISPRS_6, "rescue-5": RESCUE_5}
_MERGED: dict[str, tuple[int, ...]] = {"isprs-6": (0, 1, 2, 3, 4, 5), "rescue-5": (0, 1, 2, 2, 3, 4)}
"""Train id of each of the six classes; low vegetation and trees are one class in RescueNet's."""

_COLOURS = LabelMapping(ISPRS_6)
_ABSENT, _PRESENT = 87, 168
"""Up to which value a channel of a label counts as 0, and from which as 255; real labels have nothing in between."""


def ids_of_colours(classes: Classes, stored: StoredLabel, where: str) -> Label:
    """Colours (H, W, 3) of a published label to train ids uint8 (H, W), 255 where the label is black.

    All colours have channels of 0 or 255, but two of Potsdam's 38 labels are damaged: 6_7 has (252, 255, 0) for most of
    its cars, and 4_12 went through a lossy compression, so that no pixel of it is exactly right. Channels are therefore
    rounded. mmsegmentation's converter compares exactly: prepared tiles lack those cars, and area 4_12 altogether.

    Args:
        classes: the label space.
        stored: uint8.
        where: file name for the message.

    Raises:
        UserError: a colour that is no class's, not even when rounded.
    """
    rounded = np.where(stored <= _ABSENT, 0, np.where(stored >= _PRESENT, 255, stored)).astype(np.uint8)
    dark = ~rounded.any(axis=2) & stored.any(axis=2)  # nearly black is a mistake, not a pixel without truth
    rounded[dark] = stored[dark]
    table = np.full(256, ISPRS_6.ignore, dtype=np.uint8)
    table[: len(ISPRS_6)] = _MERGED[classes]
    label: Label = table[_COLOURS(rounded, where)]
    return label


class Packing(NamedTuple):
    """One of the published folders of large images."""

    path: str
    """Of a file, relative to the data set's root, with ``{}`` for the area."""
    bands: int
    channels: tuple[int, int, int]
    """Which bands become red, green and blue."""


class _ISPRS(PublishedSegmentation):
    """What both share: prepared tiles are read as they are, else tiles are cut out of the published images."""

    tile_prefix: ClassVar[str] = ""
    """Before the area in the names of tiles, as mmsegmentation names them."""
    _label: ClassVar[str]
    """Large label, in colours, of the area ``{}``."""

    def __init__(self, root: str | None, split: str, bands: Bands, classes: Classes, prepared: str) -> None:
        for what, value, allowed in (("bands", bands, BANDS), ("classes", classes, get_args(Classes))):
            if value not in allowed:
                raise UserError(f"{self.card.title}: no {what} {value!r}; give one of {', '.join(allowed)}")
        super().__init__(root, split)
        self.bands, self.classes, self._prepared = bands, classes, prepared
        self.label_space = _SPACES[classes]
        self.id_map, self.split_title = classes, f"{bands} {split}"

    def layouts(self) -> Sequence[Layout]:
        """Tiles as mmsegmentation's converter writes them: ids 1 to 6, 0 without truth."""
        class_map = {0: 255, **{stored + 1: train_id for stored, train_id in enumerate(_MERGED[self.classes])}}
        folder = f"{self._prepared}/" if self._prepared else ""
        images, labels = f"{folder}img_dir/{self.split}", f"{folder}ann_dir/{self.split}"
        return (Layout("prepared tiles", images, labels, ".png", ".png", class_map),)

    def packings(self) -> Sequence[Packing]:
        """Folders of large images that hold these bands, the preferred one first."""
        raise NotImplementedError

    def large(self) -> Tiles | None:
        """Tiles cut from the published large images; None if there are none."""
        areas = AREAS[self.card.name][self.split]
        for packing in self.packings():
            places = [(area, packing.path.format(area), self._label.format(area)) for area in areas]
            found = [
                Area(self.tile_prefix + area, self.root / image, self.root / label)
                for area, image, label in places
                if (self.root / image).is_file()
            ]
            if found:
                train_ids = partial(ids_of_colours, self.classes)
                return Tiles(found, self.label_space, packing.bands, packing.channels, train_ids)
        return None

    @cached_property
    def files(self) -> LaidOut | Tiles:
        """Prepared tiles, else tiles of the published images."""
        prepared = self._laid_out()
        found = prepared if prepared is not None else self.large()
        if found is None:
            raise self._missing([packing.path.format("*") for packing in self.packings()])
        return found


class Potsdam(_ISPRS):
    """Potsdam in 512-pixel tiles.

    Args:
        root: folder of the published folders, or of `RGB/img_dir` and `RGB/ann_dir` (`IRRG/…`); default
            `$GKD_DATA/potsdam`.
        split: `train` (24 areas, 3,456 tiles) or `val` (14 areas, 2,016 tiles).
        bands: `RGB`, or `IRRG` (infrared, red, green). The four-band files serve both.
        classes: `isprs-6`, or `rescue-5` for the transfer to RescueNet.

    Raises:
        UserError: as `PublishedSegmentation`; a file with another number of bands.
    """

    card = Card(
        name="potsdam",
        title="ISPRS Potsdam",
        homepage="https://www.isprs.org/education/benchmarks/UrbanSemLab/2d-sem-label-potsdam.aspx",
        licence="free for research, registration",
        counts={"train": 3456, "val": 2016},
        size=(6000, 6000),
        tree="""\
potsdam/
  2_Ortho_RGB/top_potsdam_2_10_RGB.tif        (or 4_Ortho_RGBIR/top_potsdam_2_10_RGBIR.tif for both)
  3_Ortho_IRRG/top_potsdam_2_10_IRRG.tif
  5_Labels_all/top_potsdam_2_10_label.tif
  or prepared tiles: {RGB,IRRG}/{img_dir,ann_dir}/{train,val}/2_10_0_0_512_512.png""",
        official_size=(512, 512),
        notes=(
            "Counts are those of 512-pixel tiles.",
            "The labels of areas 4_12 and 6_7 have colours that are slightly off; they are rounded.",
        ),
    )
    _label = "5_Labels_all/top_potsdam_{}_label.tif"

    def __init__(
        self,
        root: str | None = None,
        split: Literal["train", "val"] = "train",
        bands: Bands = "RGB",
        classes: Classes = "isprs-6",
    ) -> None:
        super().__init__(root, split, bands, classes, prepared=bands)

    def packings(self) -> Sequence[Packing]:
        """The three-band folder, else the four-band one."""
        own = "2_Ortho_RGB" if self.bands == "RGB" else "3_Ortho_IRRG"
        return (
            Packing(f"{own}/top_potsdam_{{}}_{self.bands}.tif", 3, (0, 1, 2)),
            Packing("4_Ortho_RGBIR/top_potsdam_{}_RGBIR.tif", 4, (0, 1, 2) if self.bands == "RGB" else (3, 0, 1)),
        )


class Vaihingen(_ISPRS):
    """Vaihingen (infrared, red, green) in 512-pixel tiles.

    Args:
        root: folder of the published folders, or of `img_dir` and `ann_dir`; default `$GKD_DATA/vaihingen`.
        split: `train` (16 areas, 344 tiles) or `val` (17 areas, 398 tiles).

    Raises:
        UserError: as `PublishedSegmentation`; a file with another number of bands.
    """

    card = Card(
        name="vaihingen",
        title="ISPRS Vaihingen",
        homepage="https://www.isprs.org/education/benchmarks/UrbanSemLab/2d-sem-label-vaihingen.aspx",
        licence="free for research, registration",
        counts={"train": 344, "val": 398},
        size=(2500, 2000),
        tree="""\
vaihingen/
  top/top_mosaic_09cm_area1.tif
  ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE/top_mosaic_09cm_area1.tif
  or prepared tiles: {img_dir,ann_dir}/{train,val}/area1_0_0_512_512.png""",
        official_size=(512, 512),
        notes=("Counts are those of 512-pixel tiles.",),
    )
    tile_prefix = "area"
    _label = "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE/top_mosaic_09cm_area{}.tif"

    def __init__(self, root: str | None = None, split: Literal["train", "val"] = "val") -> None:
        super().__init__(root, split, "IRRG", "isprs-6", prepared="")

    def packings(self) -> Sequence[Packing]:
        """The only one."""
        return (Packing("top/top_mosaic_09cm_area{}.tif", 3, (0, 1, 2)),)
