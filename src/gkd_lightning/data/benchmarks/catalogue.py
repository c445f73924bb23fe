"""All published data sets by name, each with everything that can be checked of it."""

from __future__ import annotations

from collections.abc import Callable

from gkd_lightning.data.benchmarks.adverse import MUAD, MUAD_SPLITS, DeLiVER
from gkd_lightning.data.benchmarks.driving import ACDC, BDD100K, CONDITIONS, GTAV, Cityscapes, Synthia, UrbanSyn
from gkd_lightning.data.benchmarks.idd import IDD, PARTS
from gkd_lightning.data.benchmarks.imagenet import ImageNet
from gkd_lightning.data.benchmarks.isprs import BANDS, Potsdam, Vaihingen
from gkd_lightning.data.benchmarks.loveda import SCENES, LoveDA
from gkd_lightning.data.benchmarks.mapillary import Mapillary
from gkd_lightning.data.benchmarks.night_fog import DarkZurich, FoggyDriving, FoggyZurich, NighttimeDriving
from gkd_lightning.data.benchmarks.openearthmap import REGIONS, OpenEarthMap
from gkd_lightning.data.benchmarks.published import Card
from gkd_lightning.data.benchmarks.rescuenet import RescueNet
from gkd_lightning.data.benchmarks.wilddash import WildDash2
from gkd_lightning.data.types import ImageDataset
from gkd_lightning.errors import UserError

Parts = Callable[[str | None], dict[str, ImageDataset]]
"""From a root folder (None: below $GKD_DATA) to the data set's parts by name."""

CATALOGUE: dict[str, tuple[Card, Parts]] = {
    "imagenet": (ImageNet.card, lambda root: {s: ImageNet(root, s) for s in ("train", "val")}),
    "gtav": (GTAV.card, lambda root: {"train": GTAV(root)}),
    "synthia": (Synthia.card, lambda root: {"train": Synthia(root)}),
    "urbansyn": (UrbanSyn.card, lambda root: {"train": UrbanSyn(root)}),
    "cityscapes": (Cityscapes.card, lambda root: {s: Cityscapes(root, s) for s in ("train", "val")}),
    "bdd100k": (BDD100K.card, lambda root: {s: BDD100K(root, s) for s in ("train", "val")}),
    "mapillary": (
        Mapillary.card,
        lambda root: {"train": Mapillary(root, "train", half=False), "val": Mapillary(root, "val")},
    ),
    "acdc": (ACDC.card, lambda root: {f"{c}-{s}": ACDC(root, s, c) for c in CONDITIONS for s in ("train", "val")}),
    "dark_zurich": (DarkZurich.card, lambda root: {"val": DarkZurich(root)}),
    "nighttime_driving": (NighttimeDriving.card, lambda root: {"test": NighttimeDriving(root)}),
    "foggy_zurich": (FoggyZurich.card, lambda root: {"test": FoggyZurich(root)}),
    "foggy_driving": (FoggyDriving.card, lambda root: {"test": FoggyDriving(root)}),
    "idd": (
        IDD.card,
        lambda root: {f"part{p}-{s}": IDD(root, s, p) for p in PARTS for s in ("train", "val")},
    ),
    "wilddash2": (WildDash2.card, lambda root: {"public": WildDash2(root)}),
    "muad": (MUAD.card, lambda root: {s: MUAD(root, s) for s in MUAD_SPLITS}),
    "deliver": (DeLiVER.card, lambda root: {s: DeLiVER(root, s) for s in ("train", "val", "test")}),
    "potsdam": (Potsdam.card, lambda root: {f"{b}-{s}": Potsdam(root, s, b) for b in BANDS for s in ("train", "val")}),
    "vaihingen": (Vaihingen.card, lambda root: {s: Vaihingen(root, s) for s in ("train", "val")}),
    "rescuenet": (RescueNet.card, lambda root: {s: RescueNet(root, s) for s in ("train", "val", "test")}),
    "loveda": (LoveDA.card, lambda root: {f"{x}-{s}": LoveDA(root, s, x) for x in SCENES for s in ("train", "val")}),
    "openearthmap": (
        OpenEarthMap.card,
        lambda root: {f"{x}-{s}": OpenEarthMap(root, s, x) for x in REGIONS for s in ("train", "val")},
    ),
}


def published_parts(name: str, root: str | None) -> dict[str, ImageDataset]:
    """The parts (splits, conditions) of a published data set, by name.

    Raises:
        UserError: an unknown name.
    """
    if name not in CATALOGUE:
        raise UserError(f"{name}: no published data set of this name; there are {', '.join(CATALOGUE)}")
    return CATALOGUE[name][1](root)
