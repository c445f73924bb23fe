"""Published data sets, read as their authors packed them; ids are mapped when a label is read."""

from gkd_lightning.data.benchmarks.acdc import ACDC
from gkd_lightning.data.benchmarks.bdd100k import BDD100K
from gkd_lightning.data.benchmarks.card import Card
from gkd_lightning.data.benchmarks.catalogue import CATALOGUE, published_parts
from gkd_lightning.data.benchmarks.cityscapes import Cityscapes
from gkd_lightning.data.benchmarks.gtav import GTAV
from gkd_lightning.data.benchmarks.imagenet import ImageNet
from gkd_lightning.data.benchmarks.isprs import Potsdam, Vaihingen
from gkd_lightning.data.benchmarks.mapillary import Mapillary
from gkd_lightning.data.benchmarks.published import PublishedSegmentation
from gkd_lightning.data.benchmarks.rescuenet import PotsdamRescue, RescueNet
from gkd_lightning.data.benchmarks.synthia import Synthia
from gkd_lightning.data.benchmarks.urbansyn import UrbanSyn

__all__ = [
    "ACDC",
    "BDD100K",
    "CATALOGUE",
    "Card",
    "Cityscapes",
    "GTAV",
    "ImageNet",
    "Mapillary",
    "Potsdam",
    "PotsdamRescue",
    "PublishedSegmentation",
    "RescueNet",
    "Synthia",
    "UrbanSyn",
    "Vaihingen",
    "published_parts",
]
