"""Stage 2: pyramid, Mask2Former head, criterion, sliding window, and the module that trains them."""

from gkd_lightning.segment.artefact import SEGMENTER_WEIGHTS, LoadedSegmenter, load_segmenter, save_segmenter
from gkd_lightning.segment.criterion import Mask2FormerCriterion
from gkd_lightning.segment.head import Mask2FormerConfig, Mask2FormerHead
from gkd_lightning.segment.module import StudentPass, TaskLearning
from gkd_lightning.segment.points import KeyedPoints
from gkd_lightning.segment.segmenter import Segmenter, semantic_scores, unfrozen

__all__ = [
    "KeyedPoints",
    "LoadedSegmenter",
    "Mask2FormerConfig",
    "Mask2FormerCriterion",
    "Mask2FormerHead",
    "SEGMENTER_WEIGHTS",
    "Segmenter",
    "StudentPass",
    "TaskLearning",
    "load_segmenter",
    "save_segmenter",
    "semantic_scores",
    "unfrozen",
]
