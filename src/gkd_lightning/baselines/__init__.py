"""What GKD is compared with, and how the small teacher was made."""

from gkd_lightning.baselines.dense_pretraining import DensePretraining
from gkd_lightning.baselines.single_stage import SingleStageDistillation

__all__ = ["DensePretraining", "SingleStageDistillation"]
