"""Progress for people: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from gkd_lightning.memory import peak_memory


class Progress(ProgressBar):
    """Step, images per second, time left, peak memory and the loss of the last step that was logged.

    While domains are judged: which, how many batches of how many, images per second, time left.

    Args:
        title: what is running, such as ``gkd/task_agnostic``.
        every_seconds: pause between two plain lines where the output is no terminal.
    """

    def __init__(self, title: str = "", every_seconds: float = 20.0) -> None:
        super().__init__()
        self.title = title
        self.every_seconds = every_seconds
        self._enabled = True
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._begun = self._spoken = 0.0
        self._first_step = self._images = self._read = 0
        self._judged_since = self._judged = 0.0
        self._loss: float | None = None

    def disable(self) -> None:
        """Lightning's hook for the ranks that stay silent."""
        self._enabled = False

    def enable(self) -> None:
        """Undo `disable`."""
        self._enabled = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the bar."""
        self._begun = self._spoken = time.perf_counter()
        self._first_step, self._images, self._loss = trainer.global_step, 0, None
        self._read = trainer.global_step
        if self._enabled and sys.stdout.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
            self._bar = RichProgress(*columns, console=Console(), refresh_per_second=4)
            self._task = self._bar.add_task(self.title, total=_total_steps(trainer), text="")
            self._bar.start()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the bar, or print a line when the last one is some time ago."""
        if not self._enabled:
            return
        if isinstance(batch, dict) and "image" in batch:
            self._images += len(batch["image"]) * trainer.world_size
        self._read_loss(trainer)
        now = time.perf_counter()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=trainer.global_step, text=self._text(trainer, now))
        elif now - self._spoken >= self.every_seconds:
            self._spoken = now
            print(f"{self.title}: {self._text(trainer, now)}", flush=True)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close the bar and leave one line."""
        self._close()
        if self._enabled:
            print(f"{self.title}: {self._text(trainer, time.perf_counter())}", flush=True)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to count."""
        self._judged_since, self._judged = time.perf_counter(), 0.0
        self._spoken = max(self._spoken, self._judged_since)

    on_test_start = on_validation_start

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Print a line when the last one is some time ago."""
        self._judging(trainer.num_val_batches, batch, batch_idx, dataloader_idx, trainer.world_size)

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Print a line when the last one is some time ago."""
        self._judging(trainer.num_test_batches, batch, batch_idx, dataloader_idx, trainer.world_size)

    def _judging(self, batches: list[int | float], batch: Any, index: int, domain: int, world_size: int) -> None:
        if not (isinstance(batch, dict) and "image" in batch and "domain" in batch):
            return  # of a data module that is not ours
        now = time.perf_counter()
        self._judged += len(batch["image"]) * world_size
        if not self._enabled or now - self._spoken < self.every_seconds:
            return
        self._spoken = now
        done, total, seconds = sum(batches[:domain]) + index + 1, sum(batches), now - self._judged_since
        parts = [f"judging {batch['domain']}", f"batch {int(done)}/{int(total)}", f"{self._judged / seconds:.1f} img/s"]
        print(f"{self.title}: {'  '.join(parts)}  ETA {_clock((total - done) * seconds / done)}", flush=True)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Give the terminal back."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _read_loss(self, trainer: L.Trainer) -> None:
        """Once in each logged step: the loggers wait for the device there anyway."""
        step, every = trainer.global_step, trainer.log_every_n_steps
        if every > 0 and step % every == 0 and step != self._read:
            self._read = step
            loss = trainer.callback_metrics.get("train/loss")
            self._loss = None if loss is None else float(loss)

    def _text(self, trainer: L.Trainer, now: float) -> str:
        seconds = max(now - self._begun, 1e-6)
        total, step = _total_steps(trainer), trainer.global_step
        parts = [f"step {step}/{total}" if total else f"step {step}", f"{self._images / seconds:.1f} img/s"]
        if total and step > self._first_step:
            parts.append(f"ETA {_clock((total - step) * seconds / (step - self._first_step))}")
        parts.append(f"{peak_memory() / 2**30:.1f} GiB")
        if self._loss is not None:
            parts.append(f"loss {self._loss:.4f}")
        return "  ".join(parts)


def _total_steps(trainer: L.Trainer) -> int | None:
    steps = trainer.estimated_stepping_batches
    return int(steps) if steps != float("inf") else None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
