"""Stage 2: pyramid, heads behind one interface, sliding window, and the module that trains them."""

from gkd_lightning.segment.artefact import (
    SEGMENTER_RECORD,
    SEGMENTER_WEIGHTS,
    LoadedSegmenter,
    load_segmenter,
    record_protocols,
    save_segmenter,
)
from gkd_lightning.segment.encoder_only_head import EncoderOnlyHead
from gkd_lightning.segment.exporting import is_exporting
from gkd_lightning.segment.head import Mask2FormerHead
from gkd_lightning.segment.head_choice import build_head, settings_of
from gkd_lightning.segment.judging import DomainJudge, Predicted
from gkd_lightning.segment.linear_head import LinearHead
from gkd_lightning.segment.mask2former import Mask2FormerConfig
from gkd_lightning.segment.mask_scores import semantic_scores
from gkd_lightning.segment.module import TaskLearning
from gkd_lightning.segment.panoptic import (
    FoundSegments,
    PanopticMap,
    finds_segments,
    instance_masks,
    judged_segments,
    panoptic_maps,
    queries_of,
    segments_found,
)
from gkd_lightning.segment.pixel_head import PixelHead
from gkd_lightning.segment.pixel_losses import PixelLosses
from gkd_lightning.segment.pyramid import Level
from gkd_lightning.segment.segformer_head import SegformerHead
from gkd_lightning.segment.segmentation_head import HeadSettings, Moment, SegmentationHead, TaskLosses
from gkd_lightning.segment.segmenter import Segmenter, StudentPass, best_classes, unfrozen

__all__ = [
    "DomainJudge", "EncoderOnlyHead", "FoundSegments", "HeadSettings", "Level", "LinearHead", "LoadedSegmenter",
    "Mask2FormerConfig", "Mask2FormerHead", "Moment", "PanopticMap", "PixelHead", "PixelLosses", "Predicted",
    "SEGMENTER_RECORD", "SEGMENTER_WEIGHTS", "SegformerHead", "SegmentationHead", "Segmenter", "StudentPass",
    "TaskLearning", "TaskLosses", "best_classes", "build_head", "finds_segments", "instance_masks", "is_exporting",
    "judged_segments", "load_segmenter", "panoptic_maps", "queries_of", "record_protocols", "save_segmenter",
    "segments_found", "semantic_scores", "settings_of", "unfrozen",
]  # fmt: skip
