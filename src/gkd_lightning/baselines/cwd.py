"""Channel-wise distillation: every channel's distribution over space follows the teacher's (Shu et al., ICCV 2021)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from gkd_lightning.baselines.term import DistillationTerm, View
from gkd_lightning.distill import Variant
from gkd_lightning.ranges import Positive, Weight


def channel_wise_kl(
    student: Tensor, teacher: Tensor, tau: float, channels: int | None = None, cross_entropy: bool = False
) -> Tensor:
    """``tau^2 / (B C) * sum KL(softmax over space (teacher / tau) || softmax over space (student / tau))``.

    Args:
        student: (B, C, h, w).
        teacher: the same of the teacher.
        tau: temperature.
        channels: C of the divisor; None takes the tensors' own.
        cross_entropy: leave out the teacher's entropy (G2SD's code): another value, the same gradient.
    """
    ours = F.log_softmax(student.float().flatten(2) / tau, dim=-1)
    theirs = F.log_softmax(teacher.float().flatten(2) / tau, dim=-1)
    total = F.kl_div(ours, theirs, reduction="sum", log_target=True)
    if cross_entropy:
        total = -(theirs.exp() * ours).sum()
    return total * tau**2 / (len(student) * (channels or student.shape[1]))


class CWD(DistillationTerm):
    """``weight * channel_wise_kl`` of token maps or of class scores.

    Args:
        where: ``feature``: patch tokens, lifted by a 1x1 convolution without bias (CIRKD's port, weight 50, or 5 for
            transformers); ``logits``: the heads' scores (the authors' own place, weight 3).
        weight: factor; None takes 50 for ``feature`` and 3 for ``logits``.
        tau: temperature.
        variant: ``official`` divides by the student's channels before the convolution, as CIRKD's port does, which
            makes the loss C_teacher / C_student times larger.
    """

    def __init__(
        self,
        where: Literal["feature", "logits"] = "feature",
        weight: Weight | None = None,
        tau: Positive = 4.0,
        variant: Variant = "paper",
    ) -> None:
        super().__init__()
        self.where, self.tau, self.variant = where, tau, variant
        self.weight = weight if weight is not None else {"feature": 50.0, "logits": 3.0}[where]
        self.wants_logits = where == "logits"
        self.wants_tokens = where == "feature"

    def attach(self, student_dim: int, teacher_dim: int, num_classes: int) -> None:
        """Make the convolution."""
        if self.where == "feature":
            self.lift = nn.Conv2d(student_dim, teacher_dim, 1, bias=False)

    def forward(self, student: View, teacher: View, labels: Tensor, keys: Tensor) -> dict[str, Tensor]:
        """See `DistillationTerm.forward`."""
        if self.where == "logits":
            return {"cwd": self.weight * channel_wise_kl(student.scores(), teacher.scores(), self.tau)}
        ours = student.map
        channels = ours.shape[1] if self.variant == "official" else None
        return {"cwd": self.weight * channel_wise_kl(self.lift(ours), teacher.map, self.tau, channels)}
