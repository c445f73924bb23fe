"""What a training step was like, for the loggers, without a host that waits or ranks that talk at every step."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from gkd_lightning.ranges import Ranged
from gkd_lightning.ranks import mean_over_ranks


class StepLogging(Ranged, L.LightningModule):
    """A module whose training step leaves its values with `log_step`.

    Nothing is computed, reduced or read in steps that are not logged. In every `trainer.log_every_n_steps`-th, in the
    last of `trainer.max_steps` and in the one that ends training early, the values are averaged over micro-batches and
    ranks, all in one reduction, and read at the batch's end, all in one copy. `trainer.callback_metrics` has them
    before, on the device.

    Lightning's own way reads every value, reads those of the progress bar at every step, reduces them one by one, each
    after a barrier, and repeats in later rows whatever a step did not measure.
    """

    _step: int | None = None
    _values: list[dict[str, Tensor]]
    _row: tuple[list[str], Tensor] | None = None

    @property
    def logs_this_step(self) -> bool:
        """Whether the optimiser step in work is one whose values are logged."""
        try:
            every: int = self.trainer.log_every_n_steps
        except RuntimeError:  # Lightning's, where a step is taken without a trainer
            return False
        step = self.global_step + 1
        return every > 0 and (step % every == 0 or step == self.trainer.max_steps)

    @property
    def begins_step(self) -> bool:
        """Whether no micro-batch of the step in work has left its values yet."""
        return bool(self._step != self.global_step)

    def log_step(self, values: dict[str, Tensor]) -> None:
        """Keep the scalars of a micro-batch, by the names under which they are logged.

        Names may differ from one micro-batch to the next, but not from one rank to the other.
        """
        if self.begins_step:
            self._step, self._values = self.global_step, []
        self._values.append({name: value.detach() for name, value in values.items()})
        if self.logs_this_step and self._ends_step:
            self._reduce()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Give the loggers what `log_step` was given: all is queued by now, so this is the time to wait for it."""
        if self.trainer.should_stop and self._row is None and self._step == self.global_step - 1 and self._ends_step:
            self._reduce()
        if self._row is None:
            return
        names, values = self._row
        self._row = None
        if self.trainer.is_global_zero and self.trainer.loggers:
            row = {**dict(zip(names, values.tolist(), strict=True)), "epoch": self.current_epoch}
            for logger in self.trainer.loggers:
                logger.log_metrics(row, step=self.global_step - 1)

    @property
    def _ends_step(self) -> bool:
        whole: bool = len(self._values) == self.trainer.accumulate_grad_batches or self.trainer.is_last_batch
        return whole

    def _reduce(self) -> None:
        by_name: dict[str, list[Tensor]] = {}
        for values in self._values:
            for name, value in values.items():
                by_name.setdefault(name, []).append(value.float())
        means = [each[0] if len(each) == 1 else torch.stack(each).mean() for each in by_name.values()]
        reduced = mean_over_ranks(torch.stack(means))
        self._row = list(by_name), reduced
        for name, value in zip(by_name, reduced.unbind(), strict=True):
            self.log(name, value, logger=False)
