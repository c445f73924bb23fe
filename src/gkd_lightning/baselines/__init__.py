"""What GKD is compared with: single-stage terms, pre-distillation objectives; and how the small teacher was made."""

from gkd_lightning.baselines.afdcd import AfDCD
from gkd_lightning.baselines.agreement_pretraining import AgreementPretraining
from gkd_lightning.baselines.cirkd import CIRKD
from gkd_lightning.baselines.cwd import CWD
from gkd_lightning.baselines.dense_pretraining import DensePretraining
from gkd_lightning.baselines.feature_mse import FeatureMSE
from gkd_lightning.baselines.g2sd import G2SD
from gkd_lightning.baselines.logit_kd import LogitKD
from gkd_lightning.baselines.masked_pretraining import MaskedPretraining
from gkd_lightning.baselines.proteus import Proteus
from gkd_lightning.baselines.single_stage import SingleStageDistillation
from gkd_lightning.baselines.term import DistillationTerm, View
from gkd_lightning.baselines.tinymim import TinyMIM
from gkd_lightning.baselines.vitkd import ViTKD

__all__ = [
    "AfDCD",
    "AgreementPretraining",
    "CIRKD",
    "CWD",
    "DensePretraining",
    "DistillationTerm",
    "FeatureMSE",
    "G2SD",
    "LogitKD",
    "MaskedPretraining",
    "Proteus",
    "SingleStageDistillation",
    "TinyMIM",
    "ViTKD",
    "View",
]
