"""WildDash 2: single frames of dashboard cameras from everywhere, in COCO's panoptic format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from gkd_lightning.data.annotations.reading import json_of, record_of
from gkd_lightning.data.annotations.shapes import Damaged
from gkd_lightning.data.benchmarks.published import Card, Layout, PublishedSegmentation
from gkd_lightning.data.labels import CLASS_MAP, StoredLabel, read_stored_label
from gkd_lightning.data.types import CITYSCAPES_19
from gkd_lightning.errors import UserError

_POLICY = {
    "road": (
        "roadmarking", "manhole", "pothole", "tramtrack", "bikelane", "pedestrianarea", "catchbasin",
        "crosswalkplain", "crosswalkzebra", "servicelane",
    ),
    "sidewalk": ("curb", "curbcut", "bikelanesidewalk", "manholesidewalk"),
    "terrain": ("curbterrain",),
    "wall": ("otherbarrier",),
    "pole": ("trafficsignframe", "utilitypole"),
    "traffic sign": ("trafficsignfront",),
    "rider": ("motorcyclist", "bicyclist", "otherrider"),
    "car": ("van",),
    "truck": ("pickup",),
    "train": ("onrails",),
    "motorcycle": ("autorickshaw",),
    "": (
        "unlabeled", "egovehicle", "rectificationborder", "overlay", "outofroi", "static", "dynamic", "ground",
        "parking", "railtrack", "guardrail", "bridge", "tunnel", "polegroup", "caravan", "trailer", "billboard",
        "streetlight", "junctionbox", "mailbox", "phonebooth", "bikerack", "bird", "groundanimal", "trafficsignany",
        "trafficsignback", "trashcan", "othervehicle", "bench", "mountain", "wheeledslow", "boat", "banner",
        "dashcammount", "water", "sand", "firehydrant", "cctvcamera", "snow",
    ),
}  # fmt: skip
"""Class of the 19 -> further categories that belong to it; the last line has no truth among the 19.

The column cs_name of wd2_unified_label_policy.json (github.com/ozendelait/wilddash_scripts), which is Table 1 of the
paper's supplement, without what that column has beyond the 19.
"""

_OLDER_IDS = {**CLASS_MAP, 34: 14, 35: 13, 36: 255, 37: 255, 38: 0}
"""Of the older package's label maps: Cityscapes' ids, then pickup, van, billboard, street light and road marking."""

_COLOURS = 1 << 24
_UNKNOWN = 254


def wilddash_train_ids(names: Sequence[str]) -> list[int]:
    """Train id of each category, 255 where there is none, by the authors' label policy.

    Args:
        names: such as ``traffic light``, ``trafficlight`` or ``street-light (object)``.

    Raises:
        UserError: a name that the policy does not have.
    """
    by_name = {_plain(name): train_id for train_id, name in enumerate(CITYSCAPES_19.names)}
    for target, members in _POLICY.items():
        by_name |= dict.fromkeys(members, by_name.get(_plain(target), 255))
    unknown = next((name for name in names if _plain(name) not in by_name), None)
    if unknown is not None:
        raise UserError(f"category {unknown!r} is not in WildDash 2's label policy, so nothing says which class it is")
    return [by_name[_plain(name)] for name in names]


def _plain(name: str) -> str:
    return re.sub(r"\(.*\)|[^a-z]", "", name.lower())


class WildDash2(PublishedSegmentation):
    """WildDash 2's public images (Zendel et al., CVPR 2022), all for evaluation here.

    Args:
        root: folder that holds `images/`, `panoptic/` and `panoptic.json`; default `$GKD_DATA/wilddash2`.

    Raises:
        UserError: as `PublishedSegmentation`; `panoptic.json` is damaged, or contradicts a picture of segments.
    """

    card = Card(
        name="wilddash2",
        title="WildDash 2",
        homepage="https://wilddash.cc",
        licence="own licence, registration",
        counts={"public": 4256},
        size=(1920, 1080),
        tree="""\
wilddash2/
  images/NAME.jpg
  panoptic.json, panoptic/NAME.png        (wd_public_v2p0.zip; or labels/NAME.png of the older wd_public_02.zip)""",
        other_folders=("wilddash", "WildDash2", "wd_public_v2p0", "wd_public_02"),
        notes=(
            "The count is that of wd_public_v2p0.zip; the older package's is not known to us.",
            "Names in the older package are from users' readers, not from the authors.",
            "Sizes may differ; none was checked.",
        ),
    )

    def __init__(self, root: str | None = None) -> None:
        super().__init__(root, "public")

    def layouts(self) -> Sequence[Layout]:
        """Segments as published, else the older package's label maps."""
        return (
            Layout("published", "images", "panoptic", ".jpg", ".png", self._class_map, read_label=self._segments),
            Layout("older", "images", "labels", ".jpg", ".png", _OLDER_IDS),
        )

    @property
    def shared_files(self) -> tuple[Path, ...]:
        """What says the classes of all images' segments."""
        return (self._annotations,) if self.files.label_path(0).parent.name == "panoptic" else ()

    @property
    def _annotations(self) -> Path:
        return self.root / "panoptic.json"

    def _class_map(self) -> dict[int, int]:
        """Train ids stay; asked for at the first use, so that a damaged file is told once and not for every image."""
        if not self._train_ids:
            raise UserError(f"{self._annotations}: has no annotation")
        return {train_id: train_id for train_id in range(len(CITYSCAPES_19))}

    @cached_property
    def _train_ids(self) -> dict[str, dict[int, int]]:
        """Train id by segment, by the name of the picture."""
        path = self._annotations
        plain = json_of(path)
        with record_of(path, "categories"):
            categories = list(plain["categories"])
            ids, names = [int(each["id"]) for each in categories], [str(each["name"]) for each in categories]
            try:
                by_category = dict(zip(ids, wilddash_train_ids(names), strict=True))
            except UserError as error:
                raise Damaged(str(error)) from error
        found = {}
        for place, each in enumerate(plain.get("annotations", ())):
            with record_of(path, f"annotation {place} of the list"):
                segments = {int(info["id"]): by_category[int(info["category_id"])] for info in each["segments_info"]}
                beyond = next((number for number in segments if not 0 <= number < _COLOURS), None)
                if beyond is not None:
                    raise Damaged(f"segment {beyond} is no colour of a picture")
                found[Path(str(each["file_name"])).name] = segments
        return found

    def _segments(self, path: Path) -> StoredLabel:
        """Train ids uint8 (H, W) of a picture whose colours are `id = R + 256 G + 256² B`; black has no truth."""
        stored = read_stored_label(path)
        if stored.ndim != 3:
            raise UserError(f"{path}: is no RGB picture, in which COCO's panoptic format holds ids")
        if path.name not in self._train_ids:
            raise UserError(f"{path}: {self._annotations} has no annotation of it")
        wide = stored.astype(np.int32)
        segments = wide[..., 0] + 256 * wide[..., 1] + 65536 * wide[..., 2]
        table = np.full(_COLOURS, _UNKNOWN, np.uint8)  # to sort two million pixels takes many times as long
        table[0] = 255
        for segment, train_id in self._train_ids[path.name].items():
            table[segment] = train_id
        found: StoredLabel = table[segments]
        missing = segments[found == _UNKNOWN]
        if missing.size:
            raise UserError(f"{path}: has segment {missing[0]}, which {self._annotations} lacks")
        return found
