"""The three terms of stage 1: features, masked patches, class token."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from gkd_lightning.distill.heads import Aligned, Projection, QuerySoftDistillation
from gkd_lightning.encoders import Tokens

Alignment = Literal["qsd", "projection"]
Variant = Literal["official", "paper"]


class DistillationObjective(nn.Module):
    """``alpha * L_fea + beta * L_patch + gamma * L_token`` (distillation_models_deit.py:217-246).

    * ``fea``: tokens of the whole images. ``official`` counts the class token among them (1 + N tokens), as the
      official code does; ``paper`` takes the N patch tokens.
    * ``patch``: tokens of the masked pass. ``official`` takes all tokens of all images, of which only half carry
      a mask; ``paper`` takes the masked tokens.
    * ``token``: the class token.

    Every term is a mean squared error over tokens, channels and batch. A term of weight 0 is neither computed nor
    given a head (under DDP its parameters would be unused); without the token term, ``fea`` has no class token.

    Args:
        student_dim: width of the student's tokens.
        teacher_dim: width of the teacher's tokens.
        alpha: weight of ``fea``.
        beta: weight of ``patch``.
        gamma: weight of ``token``.
        variant: see above.
        alignment: ``qsd`` (the method) or ``projection`` (LayerNorm + Linear: two-stage MSE with beta = gamma = 0).
        num_heads: attention heads of QSD.
        attention_scale: see `QuerySoftDistillation`.
    """

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 1.0,
        variant: Variant = "official",
        alignment: Alignment = "qsd",
        num_heads: int = 1,
        attention_scale: float | None = 1.0,
    ) -> None:
        super().__init__()
        self.weights = {"fea": alpha, "patch": beta, "token": gamma}
        self.variant = variant

        def head() -> nn.Module:
            if alignment == "projection":
                return Projection(student_dim, teacher_dim)
            return QuerySoftDistillation(student_dim, teacher_dim, num_heads, attention_scale)

        self.heads = nn.ModuleDict({name: head() for name, weight in self.weights.items() if weight > 0})

    @property
    def needs_masked_pass(self) -> bool:
        """Whether the student has to see masked images at all."""
        return self.weights["patch"] > 0

    def forward(
        self, student: Tokens, teacher: Tokens, masked: torch.Tensor | None, mask: torch.Tensor | None
    ) -> tuple[dict[str, torch.Tensor], Aligned | None]:
        """Terms of the loss, unweighted, and the aligned feature tokens (for the log).

        Args:
            student: tokens of the whole images.
            teacher: tokens of the same images, on the same grid.
            masked: (B, N, D) patch tokens of the masked pass; rows of images without a mask are those of `student`.
            mask: (B, N) bool.

        Returns:
            ``{"fea", "patch", "token"}`` (those with a weight above 0) as scalars, and the feature head's output.
        """
        terms: dict[str, torch.Tensor] = {}
        aligned: Aligned | None = None
        if "token" in self.heads:
            target = teacher.cls.unsqueeze(1)
            terms["token"] = mean_square(self.heads["token"](student.cls.unsqueeze(1), target).tokens, target)
        if "fea" in self.heads:
            aligned = self.heads["fea"](student.patches, teacher.patches)
            assert aligned is not None
            terms["fea"] = mean_square(aligned.tokens, teacher.patches)
            if "token" in terms and self.variant == "official":
                # The mean over 1 + N tokens, without a copy of all of them for the sake of one.
                count = teacher.patches.shape[1]
                terms["fea"] = (count * terms["fea"] + terms["token"]) / (count + 1)
        if "patch" in self.heads and masked is not None and mask is not None:
            output = self.heads["patch"](masked, teacher.patches).tokens
            if self.variant == "official":
                terms["patch"] = mean_square(output, teacher.patches)
            else:
                error = (output.float() - teacher.patches.float()).square().mean(dim=-1)
                # sums instead of error[mask]: the number of masked tokens is not known on the host, and need not be
                terms["patch"] = (error * mask).sum() / mask.sum()
        return terms, aligned

    def total(self, terms: dict[str, torch.Tensor]) -> torch.Tensor:
        """Weighted sum of the terms."""
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()


def mean_square(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared error over all entries, in fp32."""
    return F.mse_loss(output.float(), target.float())
