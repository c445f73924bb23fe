"""A finished student at work on images of one's own: `gkd predict`, and exports for other runtimes."""

from typing import TYPE_CHECKING

from gkd_lightning.lazily import on_demand

if TYPE_CHECKING:
    from gkd_lightning.deploy.export import export_segmenter
    from gkd_lightning.deploy.exported import EXPORT_RECORD, read_record
    from gkd_lightning.deploy.finished import load_finished
    from gkd_lightning.deploy.latency import Candidate, measure
    from gkd_lightning.deploy.model import Prediction, SegmentationModel, load
    from gkd_lightning.deploy.predict import predict_folder
    from gkd_lightning.deploy.runtimes import OnnxSegmenter, OpenVinoSegmenter, TorchSegmenter, open_export

__all__ = [
    "Candidate",
    "EXPORT_RECORD",
    "OnnxSegmenter",
    "OpenVinoSegmenter",
    "Prediction",
    "SegmentationModel",
    "TorchSegmenter",
    "export_segmenter",
    "load",
    "load_finished",
    "measure",
    "open_export",
    "predict_folder",
    "read_record",
]

__getattr__ = on_demand(__name__, __file__)
