"""A finished student at work on images of one's own: `gkd predict`, and exports for other runtimes."""

from typing import TYPE_CHECKING

from gkd_lightning.lazily import on_demand

if TYPE_CHECKING:
    from gkd_lightning.deploy.authors_names import export_authors
    from gkd_lightning.deploy.card import CARD, PICTURE, card_text, chosen_run
    from gkd_lightning.deploy.export import export_segmenter
    from gkd_lightning.deploy.exported import EXPORT_RECORD, read_record
    from gkd_lightning.deploy.finished import gives_scores, load_finished
    from gkd_lightning.deploy.hub import card_of_run, export_hub
    from gkd_lightning.deploy.latency import Candidate, measure
    from gkd_lightning.deploy.licences import terms_of
    from gkd_lightning.deploy.model import Prediction, SegmentationModel, load
    from gkd_lightning.deploy.predict import FilePrediction
    from gkd_lightning.deploy.runtimes import OnnxSegmenter, OpenVinoSegmenter, TorchSegmenter, open_export
    from gkd_lightning.deploy.timm_folder import export_timm

__all__ = [
    "Candidate",
    "CARD",
    "EXPORT_RECORD",
    "FilePrediction",
    "OnnxSegmenter",
    "OpenVinoSegmenter",
    "PICTURE",
    "Prediction",
    "SegmentationModel",
    "TorchSegmenter",
    "card_of_run",
    "card_text",
    "chosen_run",
    "export_authors",
    "export_hub",
    "export_segmenter",
    "export_timm",
    "gives_scores",
    "load",
    "load_finished",
    "measure",
    "open_export",
    "read_record",
    "terms_of",
]

__getattr__ = on_demand(__name__, __file__)
