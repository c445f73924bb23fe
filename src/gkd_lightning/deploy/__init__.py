"""A finished student at work on images of one's own."""

from typing import TYPE_CHECKING

from gkd_lightning.lazily import on_demand

if TYPE_CHECKING:
    from gkd_lightning.deploy.predict import predict_folder

__all__ = [
    "predict_folder",
]

__getattr__ = on_demand(__name__, __file__)
