"""ViTKD: shallow layers are mimicked, the deep one is generated from masked tokens (Yang et al., 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gkd_lightning.baselines.term import DistillationTerm, View
from gkd_lightning.distill import keyed_noise
from gkd_lightning.ranges import InnerShare, Weight

OFFICIAL_TOKENS = 196
"""Of the 224-pixel images at 16-pixel patches that the official weights were chosen for."""


def squared_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Sum of squared differences, divided by the batch."""
    return (student.float() - teacher.float()).square().sum() / len(student)


def hidden_tokens(noise: Tensor, ratio: float) -> Tensor:
    """(B, N) bool, True for the tokens to be replaced: all but the int(N (1 - ratio)) with the smallest noise."""
    kept = int(noise.shape[1] * (1 - ratio))
    return noise.argsort(dim=1).argsort(dim=1) >= kept


class ViTKD(DistillationTerm):
    """``alpha * L_mimic + beta / mask_ratio * L_generation``.

    L_mimic: squared error of the raw outputs of the first two blocks, each lifted by its own Linear. L_generation:
    tokens after the final norm are lifted, a share of them is replaced by a learned token, two convolutions fill the
    gaps, and the squared error of the replaced ones counts. Both are sums over tokens and channels, divided by the
    batch.

    Args:
        alpha: weight of L_mimic.
        beta: weight of L_generation.
        mask_ratio: share of replaced tokens.
        resolution_invariant: scale both weights by 196 / N, so that they mean the same at any number of tokens N.

    Source: ``mmcls/models/dis_losses/vitkd.py`` of cls_KD.
    """

    blocks = (0, 1)

    def __init__(
        self, alpha: Weight = 3e-5, beta: Weight = 3e-6, mask_ratio: InnerShare = 0.5, resolution_invariant: bool = True
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.mask_ratio = alpha, beta, mask_ratio
        self.resolution_invariant = resolution_invariant

    def attach(self, student_dim: int, teacher_dim: int, num_classes: int) -> None:
        """Make the Linears (none for equal widths), the generator and the learned token (0 at first)."""
        equal = student_dim == teacher_dim
        self.shallow = nn.ModuleList(
            nn.Identity() if equal else nn.Linear(student_dim, teacher_dim) for _ in self.blocks
        )
        self.deep = nn.Identity() if equal else nn.Linear(student_dim, teacher_dim)
        self.token = nn.Parameter(torch.zeros(1, 1, teacher_dim))
        self.generator = nn.Sequential(
            nn.Conv2d(teacher_dim, teacher_dim, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(teacher_dim, teacher_dim, 3, padding=1),
        )

    def forward(self, student: View, teacher: View, labels: Tensor, keys: Tensor) -> dict[str, Tensor]:
        """See `DistillationTerm.forward`."""
        patches = student.tokens.patches
        noise = keyed_noise(keys, (patches.shape[1],), patches.device)
        scale = OFFICIAL_TOKENS / patches.shape[1] if self.resolution_invariant else 1.0
        mimic = self.mimic([_tokens(block) for block in student.blocks], [_tokens(block) for block in teacher.blocks])
        generation = self.generation(patches, teacher.tokens.patches, student.tokens.grid, noise)
        return {"mimic": scale * self.alpha * mimic, "generation": scale * self.beta / self.mask_ratio * generation}

    def mimic(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """L_mimic of the (B, N, D) outputs of each block."""
        errors = [squared_error(lift(s), t) for lift, s, t in zip(self.shallow, student, teacher, strict=True)]
        return torch.stack(errors).sum()

    def generation(self, student: Tensor, teacher: Tensor, grid: tuple[int, int], noise: Tensor) -> Tensor:
        """L_generation of (B, N, D) tokens; `noise` (B, N) decides which are replaced."""
        hidden = hidden_tokens(noise, self.mask_ratio).unsqueeze(-1)
        lifted = self.deep(student)
        filled = torch.where(hidden, self.token.to(lifted.dtype), lifted)
        maps = filled.transpose(1, 2).reshape(len(filled), -1, *grid)
        made = self.generator(maps).flatten(2).transpose(1, 2)
        return squared_error(made * hidden, teacher * hidden)


def _tokens(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)
