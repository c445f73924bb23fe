"""A stop-watch for a trial: a few real steps, and where their time goes."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
import torch

from gkd_lightning.memory import peak_memory

WARM_UP = 2
"""Steps before the clock starts: the first fills caches and starts workers, in the second operations are counted."""


class StopWatch(L.Callback):
    """Let training take `WARM_UP` steps, time `steps` more, and stop.

    Args:
        steps: optimiser steps to time, at least 1.
        rounds_of: steps that belong together; what is taken and what is timed is rounded up to whole rounds of them.

    Attributes:
        images: of the timed steps.
        seconds: wall-clock of the timed steps, loading included.
        waiting: seconds of these between the end of a batch and the arrival of the next one on the device.
        peak_bytes: see `peak_memory`.
    """

    def __init__(self, steps: int, rounds_of: int = 1) -> None:
        self.steps, self.warm_up = -(-steps // rounds_of) * rounds_of, -(-WARM_UP // rounds_of) * rounds_of
        self.images = 0
        self.seconds = self.waiting = 0.0
        self.peak_bytes = 0
        self._begun: float | None = None
        self._idle_since = 0.0

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        """The batch is there."""
        if self._begun is not None:
            self.waiting += _now() - self._idle_since

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count what is timed; start after the last step of the warm-up, stop after the last of all."""
        now = self._idle_since = _now()
        if self._begun is not None:
            self.images += len(batch["image"])
            self.seconds = now - self._begun
            self.peak_bytes = peak_memory()
        elif trainer.global_step >= self.warm_up:
            self._begun = now
        if trainer.global_step >= self.warm_up + self.steps:
            trainer.should_stop = True


def _now() -> float:
    """Seconds, once the device has done all that it was told."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()
