"""Stage 1: its module, the objective's interface, GKD with its heads and distances, masks, the optimiser."""

from gkd_lightning.distill.adaptive_queries import AdaptiveQueries
from gkd_lightning.distill.alignment import (
    Aligned,
    Alignment,
    AlignmentHead,
    LinearProjection,
    Projection,
    QuerySoftDistillation,
    attention_entropy,
    chosen_head,
)
from gkd_lightning.distill.artefact import HEADS, load_aligned, load_heads, save_heads
from gkd_lightning.distill.balance import Balance, Dropping, Fixed, Magnitude
from gkd_lightning.distill.distance import Cosine, Distance, MeanSquare, SmoothL1
from gkd_lightning.distill.distillation import Distillation
from gkd_lightning.distill.domain_general_distillation import DomainGeneralDistillation
from gkd_lightning.distill.gkd import GKD
from gkd_lightning.distill.masking import (
    BatchMasks,
    MasksBySide,
    batch_masks,
    keyed_noise,
    masked_samples,
    random_token_mask,
)
from gkd_lightning.distill.objective import Masking, Objective, Variant
from gkd_lightning.distill.optim import cosine_factor, parameter_groups
from gkd_lightning.distill.passes import Passes, resize_tokens
from gkd_lightning.distill.several_teachers import SeveralTeachers
from gkd_lightning.distill.standardisation import TokenStandardisation
from gkd_lightning.distill.teachers import Teachers, TeacherSpec

__all__ = [
    "AdaptiveQueries", "Aligned", "Alignment", "AlignmentHead", "Balance", "BatchMasks", "Cosine", "Distance",
    "Distillation",
    "DomainGeneralDistillation", "Dropping", "Fixed", "GKD", "HEADS", "LinearProjection", "Magnitude", "Masking",
    "MasksBySide", "MeanSquare", "Objective", "Passes", "Projection", "QuerySoftDistillation", "SeveralTeachers",
    "SmoothL1", "TeacherSpec", "Teachers", "TokenStandardisation", "Variant", "attention_entropy", "batch_masks",
    "chosen_head", "cosine_factor", "keyed_noise", "load_aligned", "load_heads", "masked_samples", "parameter_groups",
    "random_token_mask", "resize_tokens", "save_heads",
]  # fmt: skip
