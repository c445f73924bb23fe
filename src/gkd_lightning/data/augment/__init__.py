"""Augmentation of the two training stages."""

from gkd_lightning.data.augment.distill import DistillAugmentation, DistillTransform
from gkd_lightning.data.augment.segment import SegmentAugmentation
from gkd_lightning.data.augment.segment_transform import SegmentTransform

__all__ = ["DistillAugmentation", "DistillTransform", "SegmentAugmentation", "SegmentTransform"]
