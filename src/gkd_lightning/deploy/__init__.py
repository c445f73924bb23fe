"""A finished student at work on images of one's own: `gkd predict`, and exports for other runtimes."""

from typing import TYPE_CHECKING

from gkd_lightning.lazily import on_demand

if TYPE_CHECKING:
    from gkd_lightning.deploy.export import export_segmenter
    from gkd_lightning.deploy.finished import load_finished
    from gkd_lightning.deploy.model import Prediction, SegmentationModel, load
    from gkd_lightning.deploy.predict import FilePrediction
    from gkd_lightning.deploy.runtimes import OnnxSegmenter, OpenVinoSegmenter, TorchSegmenter, open_export

__all__ = [
    "FilePrediction",
    "OnnxSegmenter",
    "OpenVinoSegmenter",
    "Prediction",
    "SegmentationModel",
    "TorchSegmenter",
    "export_segmenter",
    "load",
    "load_finished",
    "open_export",
]

__getattr__ = on_demand(__name__, __file__)
