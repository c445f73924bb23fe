"""Single-stage distillation: task loss and feature MSE to the teacher in the same step, on source labels."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F

from gkd_lightning.distill import Projection, resize_tokens
from gkd_lightning.encoders import EncoderSpec, Frozen, Tokens, build_encoder
from gkd_lightning.segment import TaskLearning


class SingleStageDistillation(TaskLearning):
    """Vanilla KD of the paper's Table 1: ``L_task + weight * MSE(P(student), teacher)`` over patch tokens.

    P is LayerNorm + Linear, as in two-stage MSE, so that only the staging differs. The encoder is trained.

    Args:
        teacher: the frozen vision foundation model.
        distillation_weight: factor on the feature MSE.
        kwargs: everything that `TaskLearning` takes.
    """

    def __init__(self, teacher: EncoderSpec, distillation_weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.save_hyperparameters({"teacher": asdict(teacher), "distillation_weight": distillation_weight})
        self.teacher = Frozen(build_encoder(teacher))
        self.alignment = Projection(self.encoder.embed_dim, self.teacher.module.embed_dim)

    def distillation_loss(self, batch: dict[str, torch.Tensor], tokens: Tokens) -> dict[str, torch.Tensor]:
        """The feature term, weighted.

        Args:
            batch: the labelled batch.
            tokens: the student's tokens of its images, from the same pass that feeds the head.
        """
        teacher = resize_tokens(self.teacher(batch["image"])[0], tokens.grid)
        aligned = self.alignment(tokens.patches, teacher.patches).tokens
        error = F.mse_loss(aligned.float(), teacher.patches.float())
        return {"feature": self.hparams.distillation_weight * error}
