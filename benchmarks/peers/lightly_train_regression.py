"""lightly-train's feature distillation (its `distillationv2`) beside our feature regression.

Nothing of theirs is in this file or in this package, which does not depend on them; their licence is the AGPL. In an
environment that has both:

    pip install lightly-train
    python -m gkd_bench distillation --only stage1a-regression --peer peers/lightly_train_regression.py

Same images, same students, teachers of one architecture, no weights of anybody. What they do differently is left as
they do it: they mix pairs of images, regress the teacher's last two blocks, clip gradients, step with LARS and keep no
moving average. Their method and optimiser are driven here and not by a trainer.
"""

from __future__ import annotations

import os
from typing import Any

import torch

from gkd_bench.stage1_module import forget_building, images_and_keys, seeded, specifications
from gkd_lightning.errors import UserError

_TEACHERS = {
    f"vit_{size}_patch14_dinov2": f"dinov2/vit{size[0]}14-noreg-notpretrained" for size in ("small", "base", "large")
}
_CLIPPED_TO = 1.0


class LightlyStep:
    """Forward, backward, clipping and LARS of one batch."""

    def __init__(self, device: str, batch: int, precision: str, teacher: str, **geometry: Any) -> None:
        os.environ["LIGHTLY_TRAIN_EVENTS_DISABLED"] = "1"
        try:
            from lightly_train._methods.distillationv2 import distillationv2 as theirs
            from lightly_train._models import package_helpers
            from lightly_train._models.embedding_model import EmbeddingModel
            from lightly_train._optim import optimizer_helpers
        except ImportError as error:
            raise UserError(f"lightly-train is not there ({error}): pip install lightly-train") from error
        ours = seeded(*specifications(teacher=teacher, **geometry))
        images, _ = images_and_keys(ours, batch)
        self.images = ours.student.normalize(images).to(device)
        student = package_helpers.get_wrapped_model(ours.student.model, num_input_channels=3)
        optimizer = theirs.DistillationV2LARSArgs()
        self.method = theirs.DistillationV2(
            theirs.DistillationV2Args(teacher=_their_teacher(teacher)), optimizer, EmbeddingModel(student), batch, 3
        )
        del ours
        self.method.to(device)
        modules = self.method.trainable_modules()
        for module in modules.modules:
            module.train()
        self.optimizer = optimizer_helpers.get_optimizer(optimizer, modules, lr_scale=1e-3)
        self.device, self.bf16, self.batch = device, precision == "bf16", batch
        forget_building()  # as in our own step

    def step(self) -> int:
        """See `Workload.step`."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            loss = self.method.training_step_impl({"views": [self.images]}, 0).loss
        loss.backward()
        learning = (parameter for group in self.optimizer.param_groups for parameter in group["params"])
        torch.nn.utils.clip_grad_norm_(learning, _CLIPPED_TO)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self.batch


def regression(
    device: str,
    batch: int = 8,
    precision: str = "fp32",
    teacher: str = "vit_base_patch14_dinov2",
    **geometry: Any,
) -> LightlyStep:
    """Their step, in fp32 or under autocast to bf16, as with their `precision="bf16-mixed"`."""
    return LightlyStep(device, batch, precision, teacher, **geometry)


def _their_teacher(name: str) -> str:
    if name not in _TEACHERS:
        raise UserError(f"{name}: no teacher of lightly-train's is known for it, only for {', '.join(_TEACHERS)}")
    return _TEACHERS[name]
