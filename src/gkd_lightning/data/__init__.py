"""Data: label spaces, data sets, augmentation, keyed sampling, the three data modules, checking.

All names are imported on demand: `gkd data prepare` and its workers need neither PyTorch nor timm.
"""

from typing import TYPE_CHECKING

from gkd_lightning.lazily import on_demand

if TYPE_CHECKING:
    from gkd_lightning.data.annotations import AnnotatedImages
    from gkd_lightning.data.archives import file_state, is_folder
    from gkd_lightning.data.augment import DistillAugmentation, DistillTransform, SegmentAugmentation, SegmentTransform
    from gkd_lightning.data.check import DataCheck, check_dataset
    from gkd_lightning.data.coco_panoptic import CocoPanoptic
    from gkd_lightning.data.common_corruptions import COMMON_CORRUPTIONS, CommonCorrupted
    from gkd_lightning.data.contact_sheets import contact_sheet, overlay, text_font
    from gkd_lightning.data.conversions import noted_conversions
    from gkd_lightning.data.corruptions import Corrupted
    from gkd_lightning.data.fingerprints import contents
    from gkd_lightning.data.folder import CamVid, FolderSegmentation
    from gkd_lightning.data.frames import image_and_label
    from gkd_lightning.data.images import IMAGE_SUFFIXES, list_images, read_image
    from gkd_lightning.data.joined import Joined, JoinedImages
    from gkd_lightning.data.keys import keyed_generators, sample_key
    from gkd_lightning.data.labels import CLASS_MAPS, PRESETS, default_palette, label_space, read_stored_label
    from gkd_lightning.data.loading import DistillationView, EvaluationBatch, TrainLoader
    from gkd_lightning.data.manifests import manifest
    from gkd_lightning.data.minicity import MiniCity, MiniCityLabelledShapes, MiniCityShapes
    from gkd_lightning.data.module_base import TrainingModule
    from gkd_lightning.data.modules import ProxyDataModule, SourceDataModule, TargetDataModule
    from gkd_lightning.data.protocol import Protocol, protocol_for
    from gkd_lightning.data.proxy import ProxyImages
    from gkd_lightning.data.sampling import batch_sizes, rescaled, split_batch, steps_per_epoch
    from gkd_lightning.data.segments import INSTANCE, Segments, edges, has_instances, require_instances, segments_of
    from gkd_lightning.data.types import (
        CAMVID_11,
        CITYSCAPES_19,
        MINICITY_8,
        Image,
        ImageDataset,
        Label,
        LabelSpace,
        SegmentationDataset,
        evenly,
    )

__all__ = [
    "AnnotatedImages", "CAMVID_11", "CITYSCAPES_19", "CLASS_MAPS", "COMMON_CORRUPTIONS", "CamVid", "CocoPanoptic",
    "CommonCorrupted", "Corrupted", "DataCheck",
    "DistillAugmentation", "DistillTransform", "DistillationView", "EvaluationBatch", "FolderSegmentation",
    "IMAGE_SUFFIXES", "INSTANCE", "Image", "ImageDataset", "Joined", "JoinedImages", "Label", "LabelSpace",
    "MINICITY_8", "MiniCity", "MiniCityLabelledShapes", "MiniCityShapes", "PRESETS", "Protocol", "ProxyDataModule",
    "ProxyImages", "SegmentAugmentation", "SegmentTransform", "SegmentationDataset", "Segments", "SourceDataModule",
    "TargetDataModule", "TrainLoader", "TrainingModule", "batch_sizes", "check_dataset", "contact_sheet", "contents",
    "default_palette", "edges", "evenly", "file_state", "has_instances", "image_and_label", "is_folder",
    "keyed_generators", "label_space", "list_images", "manifest", "noted_conversions", "overlay", "protocol_for",
    "read_image", "read_stored_label", "require_instances", "rescaled", "sample_key", "segments_of", "split_batch",
    "steps_per_epoch", "text_font",
]  # fmt: skip

__getattr__ = on_demand(__name__, __file__)
