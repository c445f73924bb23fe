"""Ctrl-C ends a run after the current step, with a checkpoint; a second one ends it at once."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L

from gkd_lightning.chain.callbacks.checkpoint import RESUME_CHECKPOINT


class StopWithCheckpoint(L.Callback):
    """Write ``resume.ckpt`` at the end of the step in which Ctrl-C came, then stop.

    With several processes Ctrl-C stops at once, as Lightning does: their steps cannot be brought together any more, and
    the last periodic checkpoint counts.

    Args:
        directory: folder of the checkpoint.
    """

    def __init__(self, directory: str | Path) -> None:
        self._path = Path(directory) / RESUME_CHECKPOINT
        self._asked = False
        self._before: Any = None
        self._step = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over the signal, unless somebody ignores it on purpose."""
        alone = trainer.world_size == 1 and threading.current_thread() is threading.main_thread()
        if alone and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._stop)
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop if asked to, but not while gradients accumulate: no checkpoint holds them."""
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        if self._asked and stepped:
            trainer.save_checkpoint(self._path)
            raise KeyboardInterrupt

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the signal back."""
        self._give_back()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Give the signal back; loaders that Ctrl-C has stopped are an interruption, no failure."""
        asked = self._asked
        self._give_back()
        if asked and isinstance(exception, RuntimeError) and "DataLoader worker" in str(exception):
            raise KeyboardInterrupt from exception

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        print("stopping after this step; Ctrl-C again stops at once", flush=True)

    def _give_back(self) -> None:
        if self._before is not None and signal.getsignal(signal.SIGINT) == self._stop:
            signal.signal(signal.SIGINT, self._before)
        self._asked, self._before = False, None
