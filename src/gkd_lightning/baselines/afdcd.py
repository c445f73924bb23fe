"""Af-DCD: masked feature generation and a contrast of channel groups within patches (Fan et al., NeurIPS 2023)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gkd_lightning.baselines.logit_kd import pixel_kl
from gkd_lightning.baselines.term import DistillationTerm, View
from gkd_lightning.distill import keyed_noise
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Count, Positive, Share, Weight


def dense_contrast(student: Tensor, teacher: Tensor, groups: Count, patch: Count, tau: float) -> Tensor:
    """Contrast of channel groups at the positions of a patch.

    Each of the student's groups at each position is told which of the teacher's is its own (same group, same position)
    among all groups but its own at all positions of the patch, by ``-L1 / tau``; the mean over positions, the sum
    over groups.

    Args:
        student: (B, C, h, w), pooled.
        teacher: the same of the teacher.
        groups: contiguous groups of channels, a divisor of C.
        patch: side of a patch in positions, a divisor of h and w.
        tau: temperature.
    """
    ours, theirs = (_cells(x.float(), groups, patch) for x in (student, teacher))
    scores = -torch.cdist(ours, theirs, p=1) / tau
    group = torch.arange(ours.shape[1], device=ours.device) % groups
    own = torch.eye(len(group), dtype=torch.bool, device=ours.device)
    scores = scores.masked_fill((group[:, None] == group[None, :]) & ~own, -torch.inf)
    surprise = scores.logsumexp(-1) - scores.diagonal(dim1=-2, dim2=-1)
    batch, _, height, width = student.shape
    return surprise.sum() / (batch * height * width)


def _cells(maps: Tensor, groups: Count, patch: int) -> Tensor:
    """(B, C, h, w) -> (patches, positions x groups, channels of a group)."""
    batch, channels, height, width = maps.shape
    parts = maps.reshape(batch, groups, channels // groups, height // patch, patch, width // patch, patch)
    return parts.permute(0, 3, 5, 4, 6, 1, 2).reshape(-1, patch * patch * groups, channels // groups)


class Generator(nn.Module):
    """Two 3x3 convolutions that fill what was hidden.

    Args:
        dim: channels in and out.
        enhanced: a third and fourth one; the mean of what the first and the first two lead to.
    """

    def __init__(self, dim: int, enhanced: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(dim, dim, 3, padding=1)
        self.second = nn.Conv2d(dim, dim, 3, padding=1)
        self.enhanced = enhanced
        if enhanced:
            self.out_first = nn.Conv2d(dim, dim, 3, padding=1)
            self.out_second = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, D, h, w) in and out."""
        once: Tensor = self.first(maps).relu()
        twice: Tensor = self.second(once)
        if not self.enhanced:
            return twice
        both: Tensor = self.out_first(once) + self.out_second(twice.relu())
        return both / 2


class AfDCD(DistillationTerm):
    """``c * mean squared error + contrast_weight * dense_contrast + logit_weight * logit KD``.

    The student's map is lifted by a 1x1 convolution, hidden in part, and completed by the generator; both losses
    compare the result with the teacher's map.

    Args:
        c: weight of the squared error on its mean; the official weight 2e-6 on the sum amounts to 33.6 on Cityscapes.
        contrast_weight: of the contrast.
        logit_weight: of logit KD; 0 needs no teacher's head.
        mask_ratio: chance of a position to be hidden; in ``centre`` the middle ninth is.
        mask: ``random`` or ``centre``.
        tau: temperature of the contrast.
        groups: channel groups; the teacher's width must be a multiple.
        pool: max-pooling before the contrast.
        patch: side of a patch in pooled positions; the grid must be a multiple of `pool` times `patch`.
        enhanced: the larger generator.

    Source: ``losses/ocmgd.py`` of the authors' repository.
    """

    def __init__(
        self,
        c: Weight = 33.6,
        contrast_weight: Weight = 0.005,
        logit_weight: Weight = 1.0,
        mask_ratio: Share = 0.75,
        mask: Literal["random", "centre"] = "random",
        tau: Positive = 0.07,
        groups: Count = 16,
        pool: Count = 4,
        patch: Count = 4,
        enhanced: bool = False,
    ) -> None:
        super().__init__()
        self.c, self.contrast_weight, self.logit_weight = c, contrast_weight, logit_weight
        self.mask_ratio, self.mask, self.tau = mask_ratio, mask, tau
        self.groups, self.pool, self.patch, self.enhanced = groups, pool, patch, enhanced
        self.wants_logits = logit_weight > 0

    def attach(self, student_dim: int, teacher_dim: int, num_classes: int) -> None:
        """Make the convolution and the generator."""
        if teacher_dim % self.groups:
            raise UserError(f"groups: {self.groups} does not divide the teacher's {teacher_dim} channels")
        self.lift = nn.Conv2d(student_dim, teacher_dim, 1)
        self.generator = Generator(teacher_dim, self.enhanced)

    def forward(self, student: View, teacher: View, labels: Tensor, keys: Tensor) -> dict[str, Tensor]:
        """See `DistillationTerm.forward`."""
        height, width = student.tokens.grid
        if height % (self.pool * self.patch) or width % (self.pool * self.patch):
            raise UserError(f"pool x patch: {self.pool} x {self.patch} does not divide the {height}x{width} tokens")
        noise = keyed_noise(keys, (1, height, width), student.map.device)
        made = self.complete(student.map, self.kept(noise))
        terms = {
            "generation": self.c * F.mse_loss(made.float(), teacher.map.float()),
            "contrast": self.contrast_weight * self.contrast(made, teacher.map),
        }
        if self.logit_weight > 0:
            terms["logits"] = self.logit_weight * pixel_kl(student.scores(), teacher.scores())
        return terms

    def kept(self, noise: Tensor) -> Tensor:
        """(B, 1, h, w) bool, False where the map is to be hidden: by `noise` in [0, 1] of that shape, or the centre."""
        if self.mask == "random":
            return noise <= 1 - self.mask_ratio
        kept = torch.ones_like(noise, dtype=torch.bool)
        height, width = noise.shape[-2:]
        kept[:, :, height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = False
        return kept

    def complete(self, maps: Tensor, kept: Tensor) -> Tensor:
        """Lift, hide, complete: (B, D_student, h, w) to (B, D_teacher, h, w)."""
        made: Tensor = self.generator(self.lift(maps) * kept)
        return made

    def contrast(self, made: Tensor, teacher: Tensor) -> Tensor:
        """`dense_contrast` of the pooled maps."""
        ours, theirs = F.max_pool2d(made, self.pool), F.max_pool2d(teacher, self.pool)
        return dense_contrast(ours, theirs, self.groups, self.patch, self.tau)
