"""From what a configuration or a record says about a head to the head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gkd_lightning.class_paths import imported
from gkd_lightning.errors import UserError
from gkd_lightning.segment.head import Mask2FormerHead
from gkd_lightning.segment.mask2former import Mask2FormerConfig
from gkd_lightning.segment.segmentation_head import HeadSettings, SegmentationHead


def build_head(settings: HeadSettings, feature_dims: Sequence[int], num_classes: int) -> SegmentationHead:
    """A head with fresh layers for an encoder's maps, whose channels are `feature_dims`, finest level first.

    Raises:
        UserError: the head does not fit the maps, is in use already, or has arguments that no record can hold.
    """
    if isinstance(settings, Mask2FormerConfig):
        return Mask2FormerHead(feature_dims, num_classes, settings)
    name = type(settings).__name__
    if not isinstance(settings, SegmentationHead):
        raise UserError(f"head: {name} is neither Mask2FormerConfig nor a SegmentationHead")
    if "num_classes" in vars(settings):
        raise UserError(f"head: this {name} is in use already, make another")
    settings.check_record("head")
    settings.num_classes = num_classes
    settings.attach(feature_dims, num_classes)
    return settings


def settings_of(record: Mapping[str, Any]) -> HeadSettings:
    """What `HeadSettings.record` was written from.

    Raises:
        UserError: its class cannot be imported here.
        TypeError: it is not the record of a head.
    """
    if "class_path" not in record:
        return Mask2FormerConfig(**record)
    kind = imported(record["class_path"], SegmentationHead, "head")  # type: ignore[type-abstract]
    return kind(**record["init_args"])
