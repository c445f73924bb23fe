"""Proteus: class token, features and masked patches, each through its own LayerNorm + Linear (Zhang et al., 2024)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gkd_lightning.distill import Masking, Objective, Passes, Projection
from gkd_lightning.encoders import Encoder, Tokens
from gkd_lightning.ranges import SomeShare, Weight

HEADS = ("token", "fea", "patch")


def proteus_terms(
    heads: Mapping[str, nn.Module], student: Tokens, teacher: Tokens, masked: Tensor, mask: Tensor
) -> dict[str, Tensor]:
    """Unweighted ``token``, ``fea`` and ``patch``: mean squared errors.

    Args:
        heads: from the student's width to the teacher's, by name of the term.
        student: of the whole images.
        teacher: of the same.
        masked: (M, N, D) patch tokens of the first M images with masks.
        mask: (M, N) bool; only hidden tokens count in ``patch``.
    """
    cls = heads["token"](student.cls.unsqueeze(1), teacher.cls).tokens
    output = torch.cat([cls, heads["fea"](student.patches, teacher.patches).tokens], dim=1)
    target = torch.cat([teacher.cls.unsqueeze(1), teacher.patches], dim=1)
    hidden = heads["patch"](masked, teacher.patches).tokens.float() - teacher.patches[: len(masked)].float()
    return {
        "token": F.mse_loss(cls.squeeze(1).float(), teacher.cls.float()),
        "fea": F.mse_loss(output.float(), target.float()),
        "patch": (hidden.square().mean(-1) * mask).sum() / mask.sum(),
    }


class Proteus(Objective):
    """``token_weight * token + feature_weight * fea + patch_weight * patch``, see `proteus_terms`.

    Args:
        token_weight: of the class token.
        feature_weight: of class token and patch tokens together.
        patch_weight: of the hidden tokens.
        mask_ratio: share of hidden tokens in a masked image.
        mask_probability: share of masked images in a batch.

    Source: ``pretrain/models_proteus_dinov2.py`` of the authors' repository. Its second pass runs on all images, of
    which only the masked ones count; here it runs on those.
    """

    def __init__(
        self,
        token_weight: Weight = 1.0,
        feature_weight: Weight = 1.0,
        patch_weight: Weight = 1.0,
        mask_ratio: SomeShare = 0.5,
        mask_probability: SomeShare = 0.5,
    ) -> None:
        super().__init__()
        self.weights = dict(zip(HEADS, (token_weight, feature_weight, patch_weight), strict=True))
        self.masking = Masking(mask_ratio, mask_probability)

    def attach(self, student: Encoder, teacher: Encoder) -> None:
        """Make the heads."""
        self.heads = nn.ModuleDict(
            {name: Projection().attached(student.embed_dim, teacher.embed_dim) for name in HEADS}
        )

    def forward(self, passes: Passes) -> dict[str, Tensor]:
        """See `Objective.forward`."""
        return proteus_terms(dict(self.heads.items()), passes.student, passes.teacher, passes.masked, passes.hidden)
