"""Published data sets, read as their authors packed them; ids are mapped when a label is read."""

from gkd_lightning.data.benchmarks.adverse import MUAD, DeLiVER
from gkd_lightning.data.benchmarks.catalogue import CATALOGUE, published_parts
from gkd_lightning.data.benchmarks.driving import ACDC, BDD100K, GTAV, Cityscapes, Synthia, UrbanSyn
from gkd_lightning.data.benchmarks.idd import IDD
from gkd_lightning.data.benchmarks.imagenet import ImageNet
from gkd_lightning.data.benchmarks.isprs import Potsdam, Vaihingen
from gkd_lightning.data.benchmarks.loveda import LoveDA
from gkd_lightning.data.benchmarks.mapillary import Mapillary
from gkd_lightning.data.benchmarks.night_fog import DarkZurich, FoggyDriving, FoggyZurich, NighttimeDriving
from gkd_lightning.data.benchmarks.openearthmap import OpenEarthMap
from gkd_lightning.data.benchmarks.published import Card, PublishedSegmentation
from gkd_lightning.data.benchmarks.rescuenet import PotsdamRescue, RescueNet
from gkd_lightning.data.benchmarks.wilddash import WildDash2

__all__ = [
    "ACDC", "BDD100K", "CATALOGUE", "Card", "Cityscapes", "DarkZurich", "DeLiVER", "FoggyDriving", "FoggyZurich",
    "GTAV", "IDD", "ImageNet", "LoveDA", "MUAD", "Mapillary", "NighttimeDriving", "OpenEarthMap", "Potsdam",
    "PotsdamRescue", "PublishedSegmentation", "RescueNet", "Synthia", "UrbanSyn", "Vaihingen", "WildDash2",
    "published_parts",
]  # fmt: skip
