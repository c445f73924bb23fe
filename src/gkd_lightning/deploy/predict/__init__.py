"""`gkd predict`: what it takes, how it goes through the segmenter, what it writes."""

from typing import TYPE_CHECKING

from gkd_lightning.lazily import on_demand

if TYPE_CHECKING:
    from gkd_lightning.deploy.predict.files import FilePrediction

__all__ = ["FilePrediction"]

__getattr__ = on_demand(__name__, __file__)
