"""Ctrl-C or SIGTERM ends a run after the current step, with a checkpoint; a second one ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L

from gkd_lightning.chain.callbacks.checkpoint import RESUME_CHECKPOINT
from gkd_lightning.errors import Terminated


class StopWithCheckpoint(L.Callback):
    """Write ``resume.ckpt`` at the end of the step in which Ctrl-C, SIGTERM or the terminal's end came, then stop.

    With several processes they stop at once, as Lightning does on Ctrl-C: their steps cannot be brought together any
    more, and the last periodic checkpoint counts. SIGTERM inside a SLURM job is Lightning's, which answers the warning
    before it with a checkpoint of its own.

    Args:
        directory: folder of the checkpoint.
    """

    def __init__(self, directory: str | Path) -> None:
        self._path = Path(directory) / RESUME_CHECKPOINT
        self._asked = False
        self._before: dict[int, Any] = {}
        self._step = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over the signals, unless somebody ignores them on purpose."""
        if threading.current_thread() is threading.main_thread():
            stop = self._stop if trainer.world_size == 1 else _stop_at_once
            for number in _signals():
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, stop)
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
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
        print("stopping after this step; once more stops at once", flush=True)

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            if signal.getsignal(number) in (self._stop, _stop_at_once):
                signal.signal(number, handler)
        self._asked, self._before = False, {}


def _signals() -> list[signal.Signals]:
    return [signal.SIGINT, signal.SIGHUP] + ([] if "SLURM_JOB_ID" in os.environ else [signal.SIGTERM])


def _stop_at_once(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated
