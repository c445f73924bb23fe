"""Augmentation of the two training stages."""

from gkd_lightning.data.augment.distill import DistillAugmentation, DistillTransform
from gkd_lightning.data.augment.segment import SegmentAugmentation, SegmentTransform

__all__ = ["DistillAugmentation", "DistillTransform", "SegmentAugmentation", "SegmentTransform"]
