"""Data: label spaces, data sets, augmentation, keyed sampling, the three data modules, checking.

All names are imported on demand: `gkd data prepare` and its workers need neither PyTorch nor timm.
"""

from typing import TYPE_CHECKING

from gkd_lightning.lazily import on_demand

if TYPE_CHECKING:
    from gkd_lightning.data.augment import DistillAugmentation, DistillTransform, SegmentAugmentation, SegmentTransform
    from gkd_lightning.data.camvid import CamVid
    from gkd_lightning.data.check import DataCheck, check_dataset
    from gkd_lightning.data.contact_sheets import contact_sheet
    from gkd_lightning.data.corruptions import Corrupted
    from gkd_lightning.data.folder import FolderSegmentation
    from gkd_lightning.data.images import list_images, read_image
    from gkd_lightning.data.joined import Joined, JoinedImages
    from gkd_lightning.data.keys import keyed_generators, sample_key
    from gkd_lightning.data.labels import default_palette, label_space
    from gkd_lightning.data.loading import EvaluationBatch
    from gkd_lightning.data.manifests import manifest
    from gkd_lightning.data.minicity import MiniCity, MiniCityLabelledShapes, MiniCityShapes
    from gkd_lightning.data.modules import ProxyDataModule, SourceDataModule, TargetDataModule
    from gkd_lightning.data.protocol import Protocol
    from gkd_lightning.data.proxy import ProxyImages
    from gkd_lightning.data.types import (
        CAMVID_11,
        CITYSCAPES_19,
        MINICITY_8,
        Image,
        ImageDataset,
        Label,
        LabelSpace,
        SegmentationDataset,
    )

__all__ = [
    "ProxyDataModule", "SourceDataModule", "TargetDataModule", "Protocol",
    "ProxyImages", "FolderSegmentation", "CamVid", "Corrupted",
    "MiniCity", "MiniCityShapes", "MiniCityLabelledShapes", "Joined", "JoinedImages",
    "DistillAugmentation", "DistillTransform", "SegmentAugmentation", "SegmentTransform",
    "ImageDataset", "SegmentationDataset", "LabelSpace", "Image", "Label",
    "CITYSCAPES_19", "CAMVID_11", "MINICITY_8", "label_space", "default_palette",
    "read_image", "list_images", "sample_key", "keyed_generators", "manifest", "EvaluationBatch",
    "check_dataset", "DataCheck", "contact_sheet",
]  # fmt: skip

_PLACES = {
    "augment": ["DistillAugmentation", "DistillTransform", "SegmentAugmentation", "SegmentTransform"],
    "camvid": ["CamVid"],
    "check": ["DataCheck", "check_dataset"],
    "contact_sheets": ["contact_sheet"],
    "corruptions": ["Corrupted"],
    "folder": ["FolderSegmentation"],
    "images": ["list_images", "read_image"],
    "joined": ["Joined", "JoinedImages"],
    "keys": ["keyed_generators", "sample_key"],
    "labels": ["default_palette", "label_space"],
    "loading": ["EvaluationBatch"],
    "manifests": ["manifest"],
    "minicity": ["MiniCity", "MiniCityLabelledShapes", "MiniCityShapes"],
    "modules": ["ProxyDataModule", "SourceDataModule", "TargetDataModule"],
    "protocol": ["Protocol"],
    "proxy": ["ProxyImages"],
    "types": [
        "CAMVID_11",
        "CITYSCAPES_19",
        "MINICITY_8",
        "Image",
        "ImageDataset",
        "Label",
        "LabelSpace",
        "SegmentationDataset",
    ],
}

__getattr__ = on_demand(__name__, _PLACES)
