"""Logit KD: the class distribution of every pixel follows the teacher's (Hinton et al., 2015)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from gkd_lightning.baselines.term import DistillationTerm, View
from gkd_lightning.ranges import Positive, Weight

Reduction = Literal["pixel", "batch", "element"]


def pixel_kl(
    student: Tensor, teacher: Tensor, tau: float = 1.0, reduction: Reduction = "pixel", tempered: bool = True
) -> Tensor:
    """``tau^2 KL(softmax(teacher / tau) || softmax(student / tau))`` over classes.

    Args:
        student: (B, K, h, w) logits.
        teacher: the same of the teacher.
        tau: temperature.
        reduction: what the sum is divided by: ``pixel`` B*h*w (CIRKD, Af-DCD), ``batch`` B (mmrazor's batchmean),
            ``element`` B*K*h*w (mmrazor's mean, TorchDistiller). They differ by K and by h*w.
        tempered: False leaves out tau^2 (TorchDistiller).
    """
    ours, theirs = (F.log_softmax(logits.float() / tau, 1) for logits in (student, teacher))
    divergence = F.kl_div(ours, theirs, reduction="sum", log_target=True)
    batch, classes, height, width = student.shape
    count = {"pixel": batch * height * width, "batch": batch, "element": batch * classes * height * width}[reduction]
    return divergence * (tau**2 if tempered else 1.0) / count


class LogitKD(DistillationTerm):
    """``weight * pixel_kl`` on the heads' scores, see `pixel_logits`.

    Args:
        weight: factor.
        tau: temperature.
        reduction: see `pixel_kl`.
    """

    wants_logits = True
    wants_tokens = False

    def __init__(self, weight: Weight = 1.0, tau: Positive = 1.0, reduction: Reduction = "pixel") -> None:
        super().__init__()
        self.weight, self.tau, self.reduction = weight, tau, reduction

    def forward(self, student: View, teacher: View, labels: Tensor, keys: Tensor) -> dict[str, Tensor]:
        """See `DistillationTerm.forward`."""
        return {"logits": self.weight * pixel_kl(student.scores(), teacher.scores(), self.tau, self.reduction)}
