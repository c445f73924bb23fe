"""QSD whose attention finds its own sharpness: learned, or moved during training; and tokens that keep their place."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gkd_lightning.distill.alignment import Aligned, QuerySoftDistillation
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Count, Positive


class AdaptiveQueries(QuerySoftDistillation):
    """`QuerySoftDistillation` for narrow students, whose attention stays nearly uniform at a fixed scale.

    Args:
        num_heads: attention heads.
        attention_scale: factor on the logits, or where it starts; ``None`` means 1/sqrt(head dimension).
        learned: the logarithm of each head's scale is a parameter.
        final_scale: where the scale is after the last step of the stage; it gets there by equal ratios. Not together
            with `learned`.
        residual: a token's own value is added to what it gathers.

    Raises:
        UserError: a scale that is learned and moved.
    """

    def __init__(
        self,
        num_heads: Count = 1,
        attention_scale: Positive | None = None,
        learned: bool = False,
        final_scale: Positive | None = None,
        residual: bool = False,
    ) -> None:
        super().__init__(num_heads, attention_scale)
        if learned and final_scale is not None:
            raise UserError(f"final_scale: {final_scale} moves a scale that is learned; leave one of the two out")
        self.learned, self.final_scale, self.residual = learned, final_scale, residual
        self.moves = final_scale is not None

    def attach(self, student_dim: int, teacher_dim: int) -> None:
        """See `QuerySoftDistillation.attach`; the scale is a tensor, so that compiled code takes a new one as it is."""
        super().attach(student_dim, teacher_dim)
        start = torch.full((self.num_heads,), math.log(self.scale))  # one dimension: not decayed
        if self.learned:
            self.log_scale = nn.Parameter(start)
        else:
            self.register_buffer("log_scale", start)

    def progress(self, share: float) -> None:
        """See `AlignmentHead.progress`."""
        if self.final_scale is not None:
            here = (1 - share) * math.log(self.scale) + share * math.log(self.final_scale)
            self.log_scale.fill_(here)

    @property
    def scales(self) -> list[float]:
        """See `QuerySoftDistillation.scales`."""
        return [round(float(value), 6) for value in self.log_scale.detach().exp()]

    def scaled(self, query: Tensor) -> Tensor:
        """See `QuerySoftDistillation.scaled`."""
        return query * self.log_scale.float().exp().view(-1, 1, 1)

    def forward(self, student: Tensor, teacher: Tensor) -> Aligned:
        """See `AlignmentHead.forward`."""
        aligned = super().forward(student, teacher)
        return Aligned(aligned.tokens + self.proj_v(student), aligned.attention) if self.residual else aligned
