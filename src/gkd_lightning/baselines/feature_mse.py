"""Vanilla KD: student tokens, lifted to the teacher's width, are regressed on the teacher's (FitNets)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from gkd_lightning.baselines.term import DistillationTerm, View
from gkd_lightning.distill import Alignment, AlignmentHead, chosen_head
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Positive, Weight


class FeatureMSE(DistillationTerm):
    """``weight * mean((P(student) - teacher)^2)`` over patch tokens after the final norm.

    Args:
        weight: factor on the mean squared error.
        alignment: what P is. ``projection``: LayerNorm + Linear, as in two-stage MSE, so that only the staging differs;
            ``linear``: a Linear without bias, FitNets' 1x1 convolution; ``qsd``: GKD's query-based soft distillation;
            or an `AlignmentHead`.
        attention_scale: of ``qsd``, see `QuerySoftDistillation`.

    Raises:
        UserError: a head that moves during stage 1, or settings of another head.

    Source: Romero et al., ICLR 2015; the convolution and the mean as in CIRKD's ``losses/fitnet.py``.
    """

    def __init__(
        self,
        weight: Weight = 1.0,
        alignment: Alignment | AlignmentHead = "projection",
        attention_scale: Positive | None = 1.0,
    ) -> None:
        super().__init__()
        self.weight, self.alignment = weight, chosen_head(alignment, attention_scale=attention_scale)
        if self.alignment.moves:
            raise UserError(f"alignment: {type(self.alignment).__name__} moves during stage 1, and this is none")

    def attach(self, student_dim: int, teacher_dim: int, num_classes: int) -> None:
        """Make P."""
        self.head = self.alignment.attached(student_dim, teacher_dim)

    def forward(self, student: View, teacher: View, labels: Tensor, keys: Tensor) -> dict[str, Tensor]:
        """See `DistillationTerm.forward`."""
        ours, theirs = student.tokens.patches, teacher.tokens.patches
        return {"feature": self.weight * F.mse_loss(self.head(ours, theirs).tokens.float(), theirs.float())}
