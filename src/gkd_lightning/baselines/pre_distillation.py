"""Stage 1 with another method's objective in the place of GKD's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gkd_lightning.baselines.objective import Objective, freeze_without_gradient
from gkd_lightning.distill import Distillation
from gkd_lightning.encoders import EncoderSpec


class PreDistillation(Distillation):
    """A frozen teacher into a student by any `Objective`: Proteus, TinyMIM, G2SD, or one's own.

    What the objective does not reach in the student (TinyMIM: the tail of its last block) is frozen for this stage.

    Args:
        teacher: see `Distillation`.
        student: see `Distillation`.
        objective: what is minimised.
        kwargs: everything else that `Distillation` takes.
    """

    def __init__(self, teacher: EncoderSpec, student: EncoderSpec, objective: Objective, **kwargs: Any) -> None:
        super().__init__(teacher, student, **kwargs)
        self.objective = objective
        self.objective.attach(self.student, self.teacher.module)
        freeze_without_gradient(self.student, _Step(self), self.student.image_size)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """One step."""
        terms = self.objective(self.student, self.teacher, batch["image"], batch["key"])
        loss = torch.stack(list(terms.values())).sum()
        self.log_step({"train/loss": loss, **{f"train/{name}": term for name, term in terms.items()}})
        return loss

    def dry_step(self, images: Tensor) -> Tensor:
        """See `Distillation.dry_step`."""
        keys = torch.zeros(len(images), dtype=torch.int64, device="cpu")
        return torch.stack(list(self.objective(self.student, self.teacher, images, keys).values())).sum()


class _Step(nn.Module):
    def __init__(self, module: PreDistillation) -> None:
        super().__init__()
        self.student, self.teacher, self.objective = module.student, module.teacher, module.objective

    def forward(self, images: Tensor) -> Tensor:
        return PreDistillation.dry_step(self, images)  # type: ignore[arg-type]
