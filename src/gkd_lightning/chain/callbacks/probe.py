"""A linear probe during stage 1: a bad distillation is seen before a head is trained."""

from __future__ import annotations

from typing import Any

import lightning as L

from gkd_lightning.data import SegmentationDataset
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import probe_scores
from gkd_lightning.ranges import Count, Natural, Ranged, Weight

PROBE = "val/probe/miou"
"""The objective of sweeps: the probe's mIoU in percent on the first validation domain."""


class ProbeStudent(Ranged, L.Callback):
    """Log ``val/probe/miou`` of a stage 1's student, and ``val/probe/<domain>/miou`` for every validation domain.

    The read-out is fitted on labelled images of the source and scored on other images, see `LinearProbe`. The student
    learns nothing from it: no gradient, no random draw, the same weights with and without. Every rank computes the
    same.

    Args:
        train: labelled source images for the fit.
        val: labelled domains by name; the first is the objective: a part of the source that `train` does not hold, or a
            domain that was declared for validation. Never a target: what a recipe is chosen by, it is not judged on.
        every_n_steps: steps from one measurement to the next; the end of training is always measured. 0: only the end.
        images: at most so many images of `train` and of every domain, spread over it.
        ridge: see `LinearProbe`.
    """

    def __init__(
        self,
        train: SegmentationDataset,
        val: dict[str, SegmentationDataset],
        every_n_steps: Natural = 0,
        images: Count = 200,
        ridge: Weight = 1e-3,
    ) -> None:
        if not val:
            raise UserError("trainer.callbacks: ProbeStudent: val: name at least one labelled domain")
        self.train, self.val = train, val
        self.every_n_steps, self.images, self.ridge = every_n_steps, images, ridge
        self.measured = -1

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        """Measure in time."""
        step = trainer.global_step
        if self.every_n_steps and step and step % self.every_n_steps == 0 and step != self.measured:
            self._measure(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure what is handed on."""
        if trainer.global_step != self.measured and not trainer.interrupted:
            self._measure(trainer, pl_module)

    def _measure(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        student = getattr(pl_module, "student", None)
        if student is None:
            raise UserError(f"trainer.callbacks: ProbeStudent: {type(pl_module).__name__} has no student to probe")
        scores = probe_scores(student, self.train, self.val, self.images, self.ridge)
        first = next(iter(scores))
        metrics = {PROBE: scores[first].miou, **{f"val/probe/{name}/miou": s.miou for name, s in scores.items()}}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step)
        self.measured = trainer.global_step
