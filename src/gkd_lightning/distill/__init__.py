"""Stage 1: the module, QSD heads, the objective, patch masking."""

from gkd_lightning.distill.artefact import HEADS, load_heads, save_heads
from gkd_lightning.distill.base import Distillation, resize_tokens
from gkd_lightning.distill.heads import Aligned, Projection, QuerySoftDistillation, attention_entropy
from gkd_lightning.distill.masking import BatchMasks, batch_masks, masked_samples, random_token_mask
from gkd_lightning.distill.module import DomainGeneralDistillation
from gkd_lightning.distill.objective import DistillationObjective
from gkd_lightning.distill.optim import cosine_factor, parameter_groups

__all__ = [
    "Aligned",
    "BatchMasks",
    "Distillation",
    "DistillationObjective",
    "DomainGeneralDistillation",
    "HEADS",
    "Projection",
    "QuerySoftDistillation",
    "attention_entropy",
    "batch_masks",
    "cosine_factor",
    "load_heads",
    "masked_samples",
    "parameter_groups",
    "random_token_mask",
    "resize_tokens",
    "save_heads",
]
