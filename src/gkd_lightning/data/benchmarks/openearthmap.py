"""OpenEarthMap (Xia et al., WACV 2023): land cover from above on six continents, with regions that stay unseen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Literal, get_args

from gkd_lightning.data.benchmarks.published import Card, Layout, PublishedSegmentation
from gkd_lightning.data.labels import from_one
from gkd_lightning.data.types import OPENEARTHMAP_8
from gkd_lightning.errors import UserError

Regions = Literal["source", "target"]
REGIONS: tuple[Regions, ...] = get_args(Regions)

TARGET_REGIONS = frozenset({
    "adelaide", "bielefeld", "chicago", "chiclayo", "coxsbazar", "dowa", "duesseldorf", "el_rodeo", "ica", "kagera",
    "kampala", "kinshasa", "kujawsko-pomorskie", "kyoto", "little_rock", "palu", "podkarpackie", "port_a_piment",
    "rosario", "saint_louis_du_sud", "vienna", "warminsko-mazurskie", "western", "zachodniopomorskie",
})  # fmt: skip
"""The 24 targets of the authors' regional setting for adaptation; the other 73 regions are its sources.

From the lists in `data/OpenEarthMap/splits` of https://github.com/cliffbb/UDA-NAS, by three of the data set's authors.
"""
XBD_REGIONS = frozenset({
    "adelaide", "el_rodeo", "gorakhpur", "jeremie", "joplin", "houston", "labuhan", "leilane_estates", "les_cayes",
    "little_rock", "mexico_city", "oklahoma", "palu", "panama_city", "pedrogao_grande", "port_a_piment",
    "saint_louis_du_sud", "santa_rosa", "thousand_oaks", "tulsa", "tuscaloosa", "wallace",
})  # fmt: skip
"""Regions of which the archive has labels alone: all their images are xBD's (`xbd_files.csv` in the archive)."""
_COUNTS: dict[bool, dict[Regions, dict[str, int]]] = {
    False: {"source": {"train": 1871, "val": 312}, "target": {"train": 432, "val": 72}},
    True: {"source": {"train": 2423, "val": 404}, "target": {"train": 577, "val": 96}},
}
"""By whether xBD's images are among them; counted in the authors' `train.txt`, `val.txt` and `xbd_files.csv`."""


class OpenEarthMap(PublishedSegmentation):
    """The source or the target regions of the authors' regional setting, each set a domain of its own.

    Args:
        root: folder that holds `train.txt` and the regions, or `OpenEarthMap_wo_xBD/` with them; default
            `$GKD_DATA/openearthmap`.
        split: `train` or `val`; the labels of `test` are not public.
        regions: `source` or `target`.
        xbd: whether the regions count whose images are xBD's, which have to be fetched from there and added.

    Raises:
        UserError: at once for other regions; otherwise as `PublishedSegmentation`.
    """

    card = Card(
        name="openearthmap",
        title="OpenEarthMap",
        homepage="https://doi.org/10.5281/zenodo.7223446",
        licence="licences of the images' sources, CC BY-NC-SA 4.0 where these state none",
        counts={"train": 2303, "val": 384},
        size=(1024, 1024),
        tree="""\
openearthmap/
  {train,val}.txt
  {aachen,…,zanzibar}/images/aachen_1.tif
  {aachen,…,zanzibar}/labels/aachen_1.tif""",
        other_folders=("OpenEarthMap", "OpenEarthMap_wo_xBD"),
        notes=(
            "Its authors chose the source regions, for adaptation; their repository cliffbb/UDA-NAS lists them.",
            "Counts are those of the archive: 57 source regions have 1,871 and 312 of them, 18 targets 432 and 72.",
            "With xBD's images, which the authors' `compile_xbd.py` adds, and `xbd: true` it is 3,000 and 500 of all "
            "97 regions, of which 24 targets have 577 and 96.",
            "The labels of the 1,500 test images are not public.",
            "Sizes differ; the authors' reader scales images to powers of two, here they are taken as they are.",
        ),
    )
    label_space = OPENEARTHMAP_8
    id_map = "openearthmap-8"

    def __init__(
        self,
        root: str | None = None,
        split: Literal["train", "val"] = "train",
        regions: Regions = "source",
        xbd: bool = False,
    ) -> None:
        if regions not in REGIONS:
            raise UserError(f"OpenEarthMap: no regions {regions!r}; give one of {', '.join(REGIONS)}")
        super().__init__(root, split)
        self.regions, self.xbd = regions, xbd
        self.split_title = f"{regions} {split}{' with xBD' if xbd else ''}"
        self.expected = _COUNTS[xbd][regions][split]

    def layouts(self) -> Sequence[Layout]:
        """As the archive unpacks, in its own folder or without it."""
        return tuple(
            Layout(
                "published", folder, folder, ".tif", ".tif", from_one(len(OPENEARTHMAP_8)), label_stem=_label_stem,
                list_file=str(PurePosixPath(folder, f"{self.split}.txt")), listed=self._listed, part="images",
            )
            for folder in ("OpenEarthMap_wo_xBD", ".")
        )  # fmt: skip

    def _listed(self, line: str) -> str | None:
        """`aachen_1.tif` stands for `aachen/images/aachen_1`; None if its region does not count."""
        stem = line.removesuffix(".tif")
        region = stem.rpartition("_")[0]
        if (region in TARGET_REGIONS) != (self.regions == "target") or (region in XBD_REGIONS and not self.xbd):
            return None
        return f"{region}/images/{stem}"


def _label_stem(stem: str) -> str:
    return stem.replace("/images/", "/labels/")
