"""A run goes on with another number of accumulated batches than it was interrupted with."""

from __future__ import annotations

from typing import Any

import lightning as L

from gkd_lightning.data import rescaled

_ACCUMULATE = "accumulate_grad_batches"


class OtherLayout(L.Callback):
    """Restate a checkpoint's progress, which Lightning counts in micro-batches, in those of this run.

    From eight devices to four with two accumulated batches each: the same global batches in the same order, twice as
    many micro-batches. Checkpoints of earlier versions, which do not tell their accumulation, are taken as they are.
    """

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Leave what the counts mean."""
        checkpoint[_ACCUMULATE] = trainer.accumulate_grad_batches

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Called before the loops take up their counts.

        Raises:
            UserError: the checkpoint lies inside a step.
        """
        now = trainer.accumulate_grad_batches
        made = checkpoint.get(_ACCUMULATE, now)
        if made == now or "loops" not in checkpoint:
            return
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for counts in (progress["total"], progress["current"]):
            more = rescaled(counts["processed"], made, now) - counts["processed"]
            counts.update({name: count + more for name, count in counts.items()})  # one of them lags by a batch
