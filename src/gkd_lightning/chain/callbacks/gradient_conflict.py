"""Single-stage training watched from beside: do the task's gradient and the distillation's agree?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from gkd_lightning.baselines import SingleStageDistillation
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import ENCODER, conflicts, gradients
from gkd_lightning.ranges import Count, Ranged
from gkd_lightning.ranks import mean_over_ranks

CONFLICT = "conflict"
"""Prefix of what is logged."""


class GradientConflict(Ranged, L.Callback):
    """Log the cosine between the gradients of the task's loss and of the distillation's, at the encoder's parameters.

    ``conflict/cosine`` is that of all parameters, ``conflict/patch_embedding/cosine`` and ``conflict/block_<i>/cosine``
    those of parts; ``conflict/norm_task`` and ``conflict/norm_distillation`` are the gradients' norms. A row's step is
    that of ``train/loss``: the gradients are those of the update which follows.

    The step's own batch (the first of those whose gradients accumulate) goes through the network once more, before
    training sees it. Random generators, buffers and ``.grad`` are left as they were: the weights are the same, bit for
    bit, with and without. Gradients are averaged over ranks, so all of them arrive at the same numbers.

    Args:
        every_n_steps: optimiser steps from one measurement to the next, each of which costs about two training steps.
    """

    def __init__(self, every_n_steps: Count = 20) -> None:
        self.every_n_steps = every_n_steps
        self._measured = -1

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuse training without two losses on one encoder.

        Raises:
            UserError: the model distils nothing beside a task, or its encoder is frozen or compiled.
        """
        if not isinstance(pl_module, SingleStageDistillation):
            name = type(pl_module).__name__
            raise UserError(f"trainer.callbacks: GradientConflict: {name} has no distillation beside a task's loss")
        if pl_module.hparams["freeze_encoder"]:
            raise UserError(
                "trainer.callbacks: GradientConflict: the encoder is frozen, set model.freeze_encoder=false"
            )
        if pl_module.hparams["compile"]:
            raise UserError(
                "trainer.callbacks: GradientConflict: compiled blocks give one gradient a pass, leave out model.compile"
            )

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, *args: Any) -> None:
        """Measure in time, once a step."""
        step = trainer.global_step
        if step % self.every_n_steps or step == self._measured:
            return
        self._measured = step
        assert isinstance(pl_module, SingleStageDistillation)
        values = measure(pl_module, batch, trainer)
        for logger in trainer.loggers:
            logger.log_metrics(values, step=step)


def measure(module: SingleStageDistillation, batch: dict[str, Tensor], trainer: L.Trainer) -> dict[str, float]:
    """What `GradientConflict` logs, of one batch; cosines that do not exist (a gradient is zero) are left out."""
    parameters = {name: value for name, value in module.encoder.named_parameters() if value.requires_grad}
    with isolate_rng(), _kept_buffers(module), torch.enable_grad():
        with trainer.precision_plugin.forward_context():
            losses = module.step_losses(batch)
        task = gradients(losses.task.total, parameters, keep_graph=True)
        distillation = gradients(torch.stack(list(losses.distillation.values())).sum(), parameters)
    found = conflicts(_over_ranks(task), _over_ranks(distillation))
    names = {part: CONFLICT if part == ENCODER else f"{CONFLICT}/{part}" for part in found}
    values = {f"{names[part]}/cosine": each.cosine for part, each in found.items() if not math.isnan(each.cosine)}
    whole = found[ENCODER]
    return {
        **values,
        f"{CONFLICT}/norm_task": whole.task_norm,
        f"{CONFLICT}/norm_distillation": whole.distillation_norm,
    }


@contextmanager
def _kept_buffers(module: nn.Module) -> Iterator[None]:
    """Put back what a forward pass leaves behind: running statistics, memory banks."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)


def _over_ranks(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The gradient of the global batch: one reduction for all parameters."""
    flat = mean_over_ranks(torch.cat([gradient.flatten().float() for gradient in found.values()]))
    parts = flat.split([gradient.numel() for gradient in found.values()])
    return dict(zip(found, parts, strict=True))
