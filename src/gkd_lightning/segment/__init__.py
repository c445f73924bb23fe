"""Stage 2: pyramid, Mask2Former head, criterion, sliding window, and the module that trains them."""

from gkd_lightning.segment.artefact import LoadedSegmenter, load_segmenter, save_segmenter
from gkd_lightning.segment.head import Mask2FormerConfig, Mask2FormerHead
from gkd_lightning.segment.module import TaskLearning
from gkd_lightning.segment.segmenter import Segmenter

__all__ = [
    "LoadedSegmenter",
    "Mask2FormerConfig",
    "Mask2FormerHead",
    "Segmenter",
    "TaskLearning",
    "load_segmenter",
    "save_segmenter",
]
